"""Several requests' rows fitted to a model at once: the quick side of ``prepare``.

What a batch costs is mostly what each of its requests costs. Where all their rows are of one kind,
they become one array together; the outcome is what preparing each and joining them would give, to
the bit and the dtype. Anything else, whatever is wrong with it, is ``None``: then each is prepared
by itself, which says what is wrong and with whose. Pure; knows no framework.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

import numpy as np

from loaders.base import Array, Batch, InputError, TensorSpec
from loaders.rows.cells import CellError, column
from loaders.rows.columns import Columns, cells_of, table
from loaders.rows.tensors import tensor

_EXACT: Final = 1 << 24  # a float32 holds every integer up to here
_FLOATS: Final = frozenset({"float32", "float64"})


def stack_rows(requests: Sequence[list[Any]], columns: Columns) -> Batch | None:
    """One batch of a table's rows, each request's as arrays of cells or as objects by name."""
    rows = [row for request in requests for row in request]
    kinds = set(map(type, rows))
    if kinds not in ({list}, {dict}):
        return None
    try:
        cells = cells_of(rows, columns)
        return _fitted(cells, [len(request) for request in requests], columns)
    except (InputError, CellError, OverflowError):
        return None


def _fitted(cells: Sequence[Sequence[Any]], counts: list[int], columns: Columns) -> Batch | None:
    kinds = set(map(type, chain.from_iterable(cells)))
    if kinds == {float} or (
        columns.uniform and kinds == {float, int} and _have_floats(cells, counts)
    ):
        return Batch(rows=len(cells), arrays={"": np.array(cells, dtype=np.float64)})
    fitted = []
    for i, values in enumerate(zip(*cells)):
        array = _column(values, numeric=columns.is_numeric(i))
        if array is None:
            return None
        fitted.append(array)
    return table(fitted, columns)


def _have_floats(cells: Sequence[Sequence[Any]], counts: list[int]) -> bool:
    """Whether each request has one: those of whole numbers only stay whole."""
    at = 0
    for count in counts:
        if float not in set(map(type, chain.from_iterable(cells[at : at + count]))):
            return False
        at += count
    return True


def _column(values: Sequence[Any], *, numeric: bool) -> Array | None:
    """A column whose type is every request's own: it is of one kind throughout."""
    kinds = set(map(type, values))
    if len(kinds) != 1:
        return None
    array = column(values, numeric=numeric)
    # Of integers beyond int64 only those requests would be floats that have them.
    return None if kinds == {int} and array.dtype != np.int64 else array


def stack_tensors(requests: Sequence[list[Any]], specs: Sequence[TensorSpec]) -> Batch | None:
    """One batch of rows of numbers, for a model of one tensor of them."""
    spec = specs[0]
    if len(specs) > 1 or len(spec.shape) != 2 or spec.dtype not in _FLOATS:
        return None
    rows = [row for request in requests for row in request]
    if set(map(type, rows)) != {list} or len(set(map(len, rows))) != 1:
        return None
    cells = list(chain.from_iterable(rows))
    kinds = set(map(type, cells))
    if kinds != {float} and not (kinds <= {float, int} and _are_exact(cells)):
        return None
    try:
        array = tensor(np.array(rows, dtype=np.float64), spec)
    except InputError:
        return None
    return Batch(rows=len(rows), arrays={spec.name: array})


def _are_exact(cells: list[Any]) -> bool:
    return all(type(cell) is float or -_EXACT <= cell <= _EXACT for cell in cells)
