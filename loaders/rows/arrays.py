"""Arrays of numbers fitted to the columns of a model, as they are: no value and no type changes.

For what came as NumPy arrays or as a sparse matrix; what came as lists is ``columns``' business.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from loaders.base import Array, InputError

if TYPE_CHECKING:
    from loaders.rows.columns import Columns


def is_numbers(value: Any) -> bool:
    """Whether it is an array of numbers or booleans."""
    return isinstance(value, np.ndarray) and value.dtype.kind in "biuf"


def table_of(array: Array, columns: Columns) -> Array:
    """Rows of as many numbers as the model has columns; a flat array as JSON's flat ones."""
    if array.ndim == 1:
        array = array[:, np.newaxis] if columns.count == 1 else array[np.newaxis]
    if array.ndim != 2:
        raise InputError(f"an array of the shape {list(array.shape)} where rows are needed")
    _check_width(array, columns)
    return array


def matrix_of(matrix: Any, columns: Columns) -> Any:
    """A CSR matrix of as many columns as the model's."""
    _check_width(matrix, columns)
    return matrix


def _check_width(table: Any, columns: Columns) -> None:
    width = table.shape[1]
    if columns.count not in {None, width}:
        raise InputError(f"row 0 has {width} values, but the model has {columns.count} columns")


def columns_of(arrays: Sequence[Array], columns: Columns) -> list[Array]:
    """One flat array a column, all of one length; a column may be a table of one."""
    flat = [a[:, 0] if a.ndim == 2 and a.shape[1] == 1 else a for a in arrays]
    for i, values in enumerate(flat):
        if values.ndim != 1:
            shape = list(values.shape)
            raise InputError(f"{columns.label(i)} has the shape {shape}: send one value a row")
        if len(values) != len(flat[0]):
            other = f"{columns.label(0)} has {len(flat[0])}"
            raise InputError(f"{columns.label(i)} has {len(values)} values, but {other}")
    return flat
