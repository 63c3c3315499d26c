"""Rows of numbers and categories, as the one array of floats that trees were trained on.

XGBoost and LightGBM keep in the model which category has which code; a request sends the category,
this puts the code in its place. Whole numbers become floats too, so that requests may run together
however they wrote them. Pure; knows no framework.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loaders.base import Array, Batch
from loaders.boosting.trees import cell_error, columns_of
from loaders.rows.columns import Columns

Codes = Mapping[int, Mapping[Any, int]]


@dataclass(frozen=True)
class Matrix:
    """The columns of a model, and the codes of those that hold categories."""

    columns: Columns
    codes: Codes = field(default_factory=dict)
    refuses_unknown: bool = False  # else a category that training didn't have is a missing value

    def ready(self, batch: Batch) -> Batch:
        """One array of float64; raises InputError."""
        if not self.codes:
            return Batch(rows=batch.rows, arrays={"": batch.arrays[""].astype(np.float64)})
        joined = np.empty((batch.rows, self.columns.count or 0))
        for i, column in enumerate(columns_of(batch)):
            joined[:, i] = self._coded(column, i) if i in self.codes else column
        return Batch(rows=batch.rows, arrays={"": joined})

    def cell(self, index: int) -> Any:
        """A value that a column takes."""
        return next(iter(self.codes[index]), None) if index in self.codes else 0.0

    def _coded(self, column: Array, index: int) -> NDArray[np.float64]:
        table = self.codes[index]
        return np.array([self._code(v, r, table, index) for r, v in enumerate(column.tolist())])

    def _code(self, value: Any, row: int, table: Mapping[Any, int], index: int) -> float:
        if value is None or value != value:  # noqa: PLR0124 - NaN
            return np.nan
        label = self.columns.label(index)
        if index in self.columns.texts and not isinstance(value, str):
            raise cell_error(row, label, value, "where one of the model's texts is needed")
        code = table.get(value)
        if code is None and self.refuses_unknown:
            raise cell_error(row, label, value, "is a category that the model wasn't trained on")
        return np.nan if code is None else code


def matrix_columns(
    names: tuple[str, ...] | None, count: int, categories: Mapping[int, Sequence[Any]]
) -> Columns:
    """What a model takes whose columns are numbers, but for those of ``categories``."""
    texts = frozenset(
        i for i, known in categories.items() if any(isinstance(c, str) for c in known)
    )
    numeric = frozenset(range(count)) - texts if categories else None
    return Columns(names=names, count=count, numeric=numeric, uniform=not categories, texts=texts)
