"""The loader of ONNX models, run by ONNX Runtime on the CPU or on what the manifest names.

Owns the model's life: open, try its rows, fit a request, run. What a model declares is read by
``ports``, what its manifest asks for by ``options``, a session is opened by ``session``. External
data stays within the folder: ONNX Runtime itself refuses other paths, and a test holds it to that.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from loaders import sniff
from loaders.allocation import at_most
from loaders.base import (
    Array,
    Batch,
    InputError,
    LoadError,
    LoadOptions,
    Outputs,
    Payload,
    Signature,
)
from loaders.onnx import faults, ports
from loaders.onnx.options import SessionPlan, plan_of
from loaders.onnx.probe import is_row_wise, shares_rows
from loaders.onnx.session import open_session
from loaders.rows.cells import shown
from loaders.rows.feeds import Feeds
from loaders.rows.stacked import stack_tensors

_FIELD_TAGS: Final = frozenset(b"\x08\x12\x1a\x22\x28\x32\x3a\x42")  # ModelProto's fields 1 to 8
_RATIO: Final = 50
_FREE_BYTES: Final = 1 << 30


class OnnxLoader:
    """Loads ``.onnx``."""

    format = "onnx"

    def recognises(self, path: Path, head: bytes) -> bool:
        if len(head) < 8 or head[0] not in _FIELD_TAGS or sniff.describe(head).startswith("a JSON"):
            return False
        if path.suffix.lower() == ".onnx":
            return True
        # ir_version first, as every writer does, then another field of a model
        return head[0] == 0x08 and 1 <= head[1] <= 32 and head[2] in _FIELD_TAGS

    def load(self, path: Path, options: LoadOptions) -> OnnxModel:
        if options.method not in {None, "predict"}:
            raise LoadError("an ONNX model has no method but predict")
        plan, size = plan_of(options), _artifact_bytes(path)
        for is_last in (False, True):
            try:
                # ONNX Runtime makes texts and sparse weights as many as the file says there are.
                with at_most(_FREE_BYTES + _RATIO * size) as bound:
                    return OnnxModel(_session(path, plan, size), options.batchable)
            except MemoryError as error:
                if not bound.is_taken_by_others():
                    raise LoadError(
                        f"the model takes over {_RATIO} times its size to load, so it is refused"
                    ) from error
                if is_last:
                    raise
        raise AssertionError


def _artifact_bytes(path: Path) -> int:
    """The size of the file and of what lies beside it, its external data."""
    with os.scandir(path.parent) as entries:
        found = [entry.stat(follow_symlinks=False) for entry in entries]
    return sum(status.st_size for status in found if stat.S_ISREG(status.st_mode))


def _session(path: Path, plan: SessionPlan, size: int) -> Any:
    try:
        return open_session(path, plan, size)
    except MemoryError:
        raise
    except Exception as error:
        if faults.is_out_of_memory(error):
            raise MemoryError from error
        raise LoadError(faults.why(error)) from error


class OnnxModel:
    """One session and what it takes and gives."""

    format = "onnx"

    def __init__(self, session: Any, batchable: bool | None) -> None:
        self.methods: tuple[str, ...] = ("predict",)
        self._session = session
        inputs = tuple(map(ports.input_spec, session.get_inputs()))
        self._outputs = tuple(map(ports.output, session.get_outputs()))
        if not inputs or not self._outputs:
            raise LoadError("the model has no inputs or no outputs, so it can't be asked anything")
        self.signature = Signature(inputs=inputs, outputs=tuple(o.spec for o in self._outputs))
        defaults = tuple(map(ports.input_spec, session.get_overridable_initializers()))
        self._feeds = Feeds(inputs, defaults)
        self._is_alone = len(self._outputs) == 1
        self.batchable = bool(batchable)
        if batchable and not self._has_rows():
            raise LoadError(
                "manifest.json: 'batchable' is true, but some of the model's values have no rows"
            )
        if batchable is None and shares_rows((*session.get_inputs(), *session.get_outputs())):
            self.batchable = is_row_wise(inputs, lambda *given: self._answers(*given).arrays)

    def prepare(self, payload: Payload) -> Batch:
        batch = self._feeds.fit(payload)
        if self.batchable:  # else it may be what the model wants
            _check_rows({spec.name: batch.arrays[spec.name] for spec in self._feeds.specs})
        return batch

    def stack(self, requests: Sequence[list[Any]]) -> Batch | None:
        return stack_tensors(requests, self._feeds.specs)

    def run(self, method: str, batch: Batch) -> Outputs:
        del method  # there is one
        outputs = self._answers(batch.arrays)
        is_split = all(np.ndim(a) > 0 and len(a) == batch.rows for a in outputs.arrays.values())
        outputs.batched = is_split and all(o.kind != "sequence" for o in self._outputs)
        return outputs

    def _has_rows(self) -> bool:
        return self._feeds.is_row_wise and all(o.kind != "sequence" for o in self._outputs)

    def _answers(self, arrays: dict[str, Array], run_options: Any = None) -> Outputs:
        feeds = {
            name: list(array) if name in self._feeds.sequences else array
            for name, array in arrays.items()
        }
        outputs = Outputs(arrays={}, single=self._is_alone)
        for output, answer in zip(self._outputs, self._run(feeds, run_options)):
            name = output.spec.name
            outputs.arrays[name], labels = output.converted(answer)
            if labels:
                outputs.labels[name] = labels
        return outputs

    def _run(self, feeds: dict[str, Any], run_options: Any) -> list[Any]:
        try:
            answers: list[Any] = self._session.run(None, feeds, run_options)
        except MemoryError:
            raise
        except Exception as error:
            if faults.is_out_of_memory(error):
                raise MemoryError from error
            if faults.is_bad_input(error):
                raise InputError(faults.first_line(error)) from error
            raise RuntimeError(faults.first_line(error)) from error
        return answers


def _check_rows(arrays: dict[str, Array]) -> None:
    """Raise unless all inputs have as many rows: the runtime would stretch one to the others."""
    if len({len(array) for array in arrays.values()}) > 1:
        sizes = ", ".join(f"{shown(name)} {len(array)}" for name, array in arrays.items())
        raise InputError(f"the inputs have different numbers of rows: {sizes}")
