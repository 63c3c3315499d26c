"""What a model gave for a batch, shared out to the requests that the batch was made of.

Holds the model to what it promised: as many rows out as went in, or no rows at all for one request.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from loaders.base import Array, Outputs
from mms.errors import ModelError


def split(outputs: Outputs, rows: list[int]) -> list[Outputs]:
    """Each request's share of a batch's outputs, as views; raises ModelError.

    ``rows`` are the requests' numbers of rows, in their order in the batch.
    """
    outputs = _as_arrays(outputs)
    if len(rows) == 1 and not outputs.batched:
        return [outputs]
    _check_rows(outputs, sum(rows))
    if len(rows) == 1:
        return [outputs]
    ends = np.cumsum(rows).tolist()
    items = outputs.arrays.items()
    return [
        replace(outputs, arrays={name: array[end - count : end] for name, array in items})
        for end, count in zip(ends, rows)
    ]


def whole(outputs: Outputs, rows: int) -> Outputs:
    """The outputs as arrays of so many rows, to be shared out later; raises ModelError."""
    outputs = _as_arrays(outputs)
    _check_rows(outputs, rows)
    return outputs


def _as_arrays(outputs: Outputs) -> Outputs:
    arrays = {name: _array(value) for name, value in outputs.arrays.items()}
    if not arrays:
        raise ModelError("the model gave no output")
    return replace(outputs, arrays=arrays)


def _array(value: Any) -> Array:
    """An output as an array, whatever the framework gave."""
    if isinstance(value, np.ndarray):
        return value
    if hasattr(value, "toarray"):  # SciPy's sparse matrices
        return _array(value.toarray())
    try:
        return np.asarray(value)
    except ValueError:  # ragged: a list with one entry a row
        array = np.empty(len(value), dtype=object)
        array[:] = value
        return array


def _check_rows(outputs: Outputs, rows: int) -> None:
    if not outputs.batched:
        raise ModelError("the model's answer can't be split between requests")
    for name, array in outputs.arrays.items():
        if array.ndim == 0 or len(array) != rows:
            given = len(array) if array.ndim else "one value without rows"
            raise ModelError(f"the model gave {given} for {rows} rows in its output {name!r}")
