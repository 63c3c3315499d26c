"""One column of a request: Python values or CSV cells in, one array out.

Pure. Keeps what was sent: whole numbers stay int64, true and false stay bool, text stays text, and
``null`` among numbers is NaN. What doesn't fit is a :class:`CellError` that knows its row; the
caller knows the column.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from loaders.base import Array

_NONE: Final = type(None)
_NUMBERS: Final = frozenset({int, float, bool, _NONE})
_ONE_VALUE: Final = _NUMBERS | {str}
_NAN: Final = float("nan")


class CellError(ValueError):
    """A cell doesn't fit; ``row`` counts from 0."""

    def __init__(self, row: int, problem: str) -> None:
        super().__init__(problem)
        self.row = row
        self.problem = problem


def shown(value: object) -> str:
    """A value as an error message shows it: short, printable, never a whole document."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return ascii(value) if len(value) <= 40 else ascii(value[:37]) + "..."
    if isinstance(value, (dict, list, tuple)):
        return "an object" if isinstance(value, dict) else "an array"
    return (
        str(value)[:40] if not isinstance(value, int) or value.bit_length() < 512 else "an integer"
    )


def column(values: Sequence[Any], *, numeric: bool) -> Array:
    """One array of a column's values; ``numeric`` says that text is refused."""
    kinds = set(map(type, values))
    if kinds == {float}:
        return np.array(values, dtype=np.float64)
    if kinds <= {int, bool}:
        return np.array(values, dtype=bool) if kinds == {bool} else whole_numbers(values)
    if kinds <= _NUMBERS:
        return _floats(values)
    for row, value in enumerate(values):
        if type(value) not in _ONE_VALUE:
            raise CellError(row, f"{shown(value)} where one value is needed")
        if numeric and type(value) is str:
            raise CellError(row, f"{shown(value)} isn't a number")
    return objects(values)


def objects(values: Sequence[Any]) -> Array:
    """A column of Python objects as they are."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def whole_numbers(values: Sequence[Any]) -> Array:
    """int64 where all fit, else float64."""
    try:
        return np.array(values, dtype=np.int64)
    except OverflowError:
        return _floats(values)


def _floats(values: Sequence[Any]) -> Array:
    try:
        return np.array([_NAN if v is None else v for v in values], dtype=np.float64)
    except OverflowError:
        row = next(r for r, v in enumerate(values) if not _fits_float(v))
        raise CellError(row, "the integer is too large") from None


def _fits_float(value: Any) -> bool:
    try:
        float(value or 0)
    except OverflowError:
        return False
    return True


def is_number(cell: str) -> bool:
    """Whether a CSV cell reads as a number."""
    if "_" in cell:  # Python reads 1_000; CSV doesn't mean that
        return False
    try:
        float(cell)
    except ValueError:
        return False
    return True


def csv_column(cells: Sequence[str], *, numeric: bool) -> Array:
    """A CSV column: whole numbers, else numbers, else text; an empty cell is a missing value."""
    if "_" not in "".join(cells):
        try:
            return whole_numbers([int(c) for c in cells])
        except ValueError:
            pass
        try:
            return np.array([float(c) if c else _NAN for c in cells], dtype=np.float64)
        except ValueError:
            pass
    if numeric:
        row = next(r for r, c in enumerate(cells) if c and not is_number(c))
        raise CellError(row, f"{shown(cells[row])} isn't a number")
    return objects([c or None for c in cells])
