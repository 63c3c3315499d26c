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
    arrays = {name: _array(value) for name, value in outputs.arrays.items()}
    if not arrays:
        raise ModelError("the model gave no output")
    if not outputs.batched:
        if len(rows) > 1:
            raise ModelError("the model's answer can't be split between requests")
        return [replace(outputs, arrays=arrays)]
    _check_rows(arrays, sum(rows))
    if len(rows) == 1:
        return [replace(outputs, arrays=arrays)]
    ends = np.cumsum(rows).tolist()
    return [
        replace(outputs, arrays={name: array[end - count : end] for name, array in arrays.items()})
        for end, count in zip(ends, rows)
    ]


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


def _check_rows(arrays: dict[str, Array], rows: int) -> None:
    for name, array in arrays.items():
        if array.ndim == 0 or len(array) != rows:
            given = len(array) if array.ndim else "one value without rows"
            raise ModelError(f"the model gave {given} for {rows} rows in its output {name!r}")
