"""What a worker does in a scan: say of an artifact whether it would load, and what it would need.

Takes the place of ``mms.worker.runtime`` there. The verdict comes from the load itself, so that it
is the server's own; only where a load would run code of the artifact's and nobody asked for it
(``measure``) is it left out. The findings travel where a model's signature does.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import loaders.load
from loaders.base import LoadError, LoadOptions, Model, Signature
from loaders.environment import OtherEnvironment, demand_fit
from loaders.inspection import Inspection, inspect
from loaders.scripts.requirements import listed
from mms import errors
from mms.media import Spec, encode_spec
from mms.worker.batching import run_batch
from mms.worker.runtime import load_options, preload_modules

__all__ = ["load_model", "preload_modules", "run_batch"]

_PROBE_ROWS = 1
_PROBE_CELLS = 1 << 20


class Finding:
    """Stands where a model would: holds it, so that its size can be measured."""

    methods: tuple[str, ...] = ()
    batchable = False

    def __init__(self, inspection: Inspection) -> None:
        self.format = "finding"
        self.signature: dict[str, Any] = {
            "format": inspection.format,
            "versions": dict(inspection.versions),
            "script": inspection.script,
            "unmet": list(inspection.unmet),
            "refused": list(inspection.refused),
        }
        self.model: Model | None = None

    def say(self, **findings: object) -> Finding:
        self.signature.update(findings)
        return self


def load_model(folder: Path, options: dict[str, Any]) -> Finding:
    """Look at what is in ``folder``; raises MemoryError."""
    given = dict(options)
    is_measured = bool(given.pop("measure"))
    allowed = load_options(given)
    try:
        inspection = inspect(folder, allowed)
    except LoadError as error:
        return _refused(Finding(Inspection()), error)
    finding = Finding(inspection)
    if inspection.runs_code and not is_measured:
        return _untried(finding, inspection, allowed)
    return _tried(finding, folder, allowed, is_measured=is_measured)


def _untried(finding: Finding, inspection: Inspection, options: LoadOptions) -> Finding:
    """As far as it can be told without a load, which would run code of the artifact's."""
    if inspection.unmet:
        what, message = "what its script requires", listed(inspection.unmet)
        return finding.say(status="needs", needs=[what], message=message)
    try:
        demand_fit(inspection.needs, options.env_match, options.environments)
    except LoadError as error:
        return _refused(finding, error)
    except OtherEnvironment as other:
        return finding.say(status="serves", environment=other.name)
    return finding.say(status="serves" if inspection.format or inspection.script else "fails")


def _tried(finding: Finding, folder: Path, options: LoadOptions, *, is_measured: bool) -> Finding:
    """Load it, as the server would, and see."""
    begun = time.perf_counter()
    try:
        model = loaders.load.load_model(folder, options)
    except LoadError as error:
        return _refused(finding, error)
    except OtherEnvironment as other:
        if is_measured:  # to be found out there
            raise errors.OtherEnvironment(other.name) from None
        return finding.say(status="serves", environment=other.name)
    finding.say(format=model.format)
    if not is_measured:
        return finding.say(status="serves")
    finding.model = model
    return finding.say(load_s=time.perf_counter() - begun, **_probed(model))


def _refused(finding: Finding, error: LoadError) -> Finding:
    needs = [error.needs] if error.needs else []
    return finding.say(status="needs" if needs else "fails", needs=needs, message=str(error))


def _probed(model: Any) -> dict[str, object]:
    """Ask it once, with made-up values: what doesn't suit it says little, a crash says all."""
    if sum(math.prod(n or 1 for n in i.shape) for i in model.signature.inputs) > _PROBE_CELLS:
        return {"status": "serves", "probe": f"not tried: it takes over {_PROBE_CELLS} values"}
    is_script = model.format == "script"  # says nothing of its input; AWS's own takes bare rows
    body = json.dumps([[0]] if is_script else _request(model.signature)).encode()
    reply = run_batch(model, [(encode_spec(Spec()), body)], max_rows=_PROBE_ROWS).replies[0]
    if not reply.code:
        return {"status": "serves", "probe": "ok"}
    text = f"{reply.code}: {reply.body.decode()}"
    if reply.code == "ModelError" and not (is_script or _is_guess(model.signature)):
        return {"status": "fails", "message": f"it loads, but predict fails: {text}", "probe": text}
    return {"status": "serves", "probe": text}


def _request(signature: Signature) -> dict[str, object]:
    """One row of zeros, or of "a" where text is wanted."""
    inputs = signature.inputs
    if len(inputs) > 1 and all(spec.shape[1:] in {(), (1,)} for spec in inputs):
        return {"instances": [{spec.name: _cell(spec.dtype) for spec in inputs}]}
    if len(inputs) == 1 and len(inputs[0].shape) <= 2:
        width = inputs[0].shape[1] if len(inputs[0].shape) == 2 else 1
        return {"instances": [[_cell(inputs[0].dtype)] * (width or 1)]}
    return {"inputs": {spec.name: _filled(spec.shape, spec.dtype) for spec in inputs}}


def _is_guess(signature: Signature) -> bool:
    """Whether the model doesn't tell how many columns it has."""
    return any(len(spec.shape) == 2 and spec.shape[1] is None for spec in signature.inputs)


def _filled(shape: Sequence[int | None], dtype: str) -> object:
    if not shape:
        return _cell(dtype)
    return [_filled(shape[1:], dtype)] * (shape[0] or 1)


def _cell(dtype: str) -> object:
    if dtype == "bool":
        return False
    return "a" if dtype == "str" else 0
