"""Models saved and loaded as a worker would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import joblib

from loaders.base import LoadOptions, Model, Payload
from loaders.sklearn.joblib import JoblibLoader


def served(model: Any, folder: Path, **options: Any) -> Model:
    """The model after a round trip through a file."""
    path = folder / "model.joblib"
    joblib.dump(model, path)
    return JoblibLoader().load(path, LoadOptions(**options))


def rows(*values: Any) -> Payload:
    return Payload(form="instances", rows=list(values))


def csv(*lines: str, header: bool | None = None) -> Payload:
    """CSV as the codec hands it over; ``header`` as the client declared it."""
    cells = [line.split(",") for line in lines]
    first = cells.pop(0) if header else None
    return Payload(form="csv", rows=cells, header=first, maybe_header=header is None)


def answer(model: Model, payload: Payload, method: str | None = None) -> Any:
    """The single output as a list."""
    outputs = model.run(method or model.methods[0], model.prepare(payload))
    assert outputs.single
    (array,) = outputs.arrays.values()
    return array.tolist()
