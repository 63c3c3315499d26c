"""Whose fault a failed predict is: the request's, or the model's.

scikit-learn says no to bad values with a ``ValueError`` from deep inside. If it comes from the
library's own checks of its input, it becomes an ``InputError`` that names the row and the column
where these can be found; anything else is the model's own and stays what it is.
"""

from __future__ import annotations

import re
import traceback
from typing import Any, Final

import numpy as np

from loaders.base import Batch, InputError
from loaders.rows.cells import shown
from loaders.rows.columns import Columns

_LIBRARIES: Final = ("sklearn.", "numpy.", "pandas.", "scipy.")
_CHECKS: Final = (
    "sklearn.utils.validation",
    "sklearn.utils._encode",
    "sklearn.utils._indexing",
    "sklearn.preprocessing._encoders",
    "sklearn.preprocessing._label",
    "sklearn.compose._column_transformer",
    "sklearn.feature_extraction.",
    "sklearn.impute.",
)

_NOT_FINITE: Final = re.compile(
    r"NaN|\bnan\b|infinity|missing values|too large for dtype|'isnan' not supported"
)


class OtherVersion(Exception):
    """A predict that fails, of a model that another version of the library made."""


def is_about_input(error: BaseException) -> bool:
    """Whether the library's checks of its input raised this, with no other code below them."""
    modules = [
        str(frame.f_globals.get("__name__", ""))
        for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    for module in reversed(modules):
        if module.startswith(_CHECKS):
            return True
        if not f"{module}.".startswith(_LIBRARIES):
            return False
    return False


def _is_about_sparseness(error: Exception, batch: Batch) -> bool:
    """Whether a sparse matrix was sent to a model that needs dense rows, or some other sparse."""
    return any(map(_is_sparse, batch.arrays.values())) and "sparse" in str(error).lower()


def _is_sparse(cells: Any) -> bool:
    return hasattr(cells, "tocoo")


def as_input_error(error: Exception, batch: Batch, columns: Columns) -> InputError | None:
    """The error as the client's fault, ``None`` if it isn't."""
    if not is_about_input(error) and not _is_about_sparseness(error, batch):
        return None
    text = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
    if _NOT_FINITE.search(text):
        hits = _hits(batch, _is_not_finite)
        if hits:
            return InputError(f"{_place(hits[0], columns)}, which this model doesn't take")
    plain = _plain_values(text)
    hits = _hits(batch, lambda cells: _is_quoted(cells, text, plain))
    if len(hits) != 1:  # none, or it could be one or the other
        return InputError(text)
    return InputError(f"{_place(hits[0], columns)}: {text}")


def _is_not_finite(cells: Any) -> Any:
    if cells.dtype.kind == "f":
        return ~np.isfinite(cells)
    if cells.dtype.kind == "O":
        return np.array([v is None or v != v for v in cells.flat]).reshape(cells.shape)  # noqa: PLR0124
    return np.zeros(cells.shape, dtype=bool)


def _plain_values(text: str) -> set[str]:
    """The numbers and nulls among the unknown categories that the message lists."""
    listed = re.search(r"unknown categories \[(.*)\]", text)
    if listed is None:
        return set()
    return set(re.sub(r"np\.\w+\(([^()]*)\)", r"\1", listed[1]).split(", "))


def _is_quoted(cells: Any, text: str, plain: set[str]) -> Any:
    """Where a value stands that the message quotes."""
    quoted = [
        v != "" and repr(v) in text if isinstance(v, str) else repr(v) in plain
        for v in cells.ravel().tolist()
    ]
    return np.array(quoted, dtype=bool).reshape(cells.shape)


def _hits(batch: Batch, test: Any) -> list[tuple[int, int, Any]]:
    """Row, column and value of the first cell of each column that ``test`` finds, by row."""
    found = []
    cells: Any
    for index, cells in enumerate(batch.arrays.values()):
        if _is_sparse(cells):
            found += _sparse_hits(cells.tocoo(), test)
            continue
        table = cells.reshape(len(cells), -1)
        hits = test(table)
        for column in np.flatnonzero(hits.any(axis=0)).tolist():
            row = int(hits[:, column].argmax())
            found.append((row, column if cells.ndim > 1 else index, table[row, column]))
    return sorted(found, key=lambda hit: hit[:2])


def _sparse_hits(cells: Any, test: Any) -> list[tuple[int, int, Any]]:
    """Those among the stored cells."""
    hits = test(cells.data)
    return list(zip(cells.row[hits].tolist(), cells.col[hits].tolist(), cells.data[hits].tolist()))


def _place(hit: tuple[int, int, Any], columns: Columns) -> str:
    row, column, value = hit
    plain = value.item() if isinstance(value, np.generic) else value
    what = "NaN" if plain != plain else shown(plain)  # noqa: PLR0124
    return f"row {row}, {columns.label(column)}: {what}"
