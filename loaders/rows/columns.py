"""A request's rows fitted to the columns of a model: the table side of ``prepare``.

Knows the three shapes in which rows come (arrays of cells, objects by column name, CSV cells with
or without a header) and turns them into one 2-D array, or one array a column where the kinds
differ. Counts rows and columns from 0 in every message. Pure; knows no framework.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NoReturn

import numpy as np

from loaders.base import Array, Batch, InputError, Payload, TensorSpec
from loaders.rows import arrays
from loaders.rows.cells import (
    CellError,
    column,
    csv_column,
    is_number,
    objects,
    shown,
)
from loaders.rows.header import demand_rows, parted


@dataclass(frozen=True)
class Columns:
    """What a model wants: names (``None``: unnamed), how many (``None``: any), which are numbers.

    ``numeric`` holds the positions that take numbers only, ``None`` meaning all of them;
    ``uniform`` says that the kinds of the columns don't matter to each other, so that a row of
    whole and broken numbers may become one array of floats; ``texts`` holds those whose CSV cells
    stay the texts they are.
    """

    names: tuple[str, ...] | None
    count: int | None
    numeric: frozenset[int] | None
    uniform: bool
    texts: frozenset[int] = frozenset()

    def label(self, index: int) -> str:
        """How messages call a column."""
        if self.names is not None and index < len(self.names):
            return f"column {shown(self.names[index])} ({index})"
        return f"column {index}"

    def is_numeric(self, index: int) -> bool:
        return self.numeric is None or index in self.numeric

    def specs(self) -> tuple[TensorSpec, ...]:
        """The inputs of a model's signature: one a named column, else one for the whole table."""
        if self.names is None:
            dtype = "float64" if self.numeric is None else "any"
            return (TensorSpec(name="", dtype=dtype, shape=(None, self.count)),)
        return tuple(
            TensorSpec(name=n, dtype="float64" if self.is_numeric(i) else "any", shape=(None,))
            for i, n in enumerate(self.names)
        )


def fit_rows(payload: Payload, columns: Columns) -> Batch:
    """The payload as a batch; raises InputError."""
    if payload.sparse is not None:
        matrix = arrays.matrix_of(payload.sparse, columns)
        return Batch(rows=matrix.shape[0], arrays={"": matrix})
    if payload.form == "inputs":
        return _fit_tensors(payload.tensors, columns)
    if payload.form == "csv":
        return _fit_csv(payload, columns)
    rows = _flat_rows(payload.rows, columns) if payload.flat else payload.rows
    demand_rows(rows)
    return _fit_cells(cells_of(rows, columns), columns)


def _flat_rows(rows: list[Any], columns: Columns) -> list[Any]:
    """A bare array of numbers: one row of all, or rows of one for a model of one column."""
    cells = rows[0] if len(rows) == 1 and isinstance(rows[0], list) else rows
    if len(cells) > 1 and all(isinstance(c, list) and len(c) == 1 for c in cells):
        cells = [c[0] for c in cells]
    if columns.count == 1:
        return [[c] for c in cells]
    if columns.count not in {None, len(cells)}:
        raise InputError(
            f"an array of {len(cells)} values, but the model has {columns.count} columns"
        )
    return [cells]


def cells_of(rows: Sequence[Any], columns: Columns) -> Sequence[Sequence[Any]]:
    """Every row as a sequence of cells in the model's order, all of one length."""
    if columns.names is not None and isinstance(rows[0], dict):
        return [_by_name(row, r, columns.names) for r, row in enumerate(rows)]
    count = columns.count
    for r, row in enumerate(rows):
        if not isinstance(row, (list, tuple)):
            _refuse_row(row, r, columns)
        if count is None:
            count = len(row)
        if len(row) != count:
            whose = "the model has" if columns.count is not None else "row 0 has"
            raise InputError(f"row {r} has {len(row)} values, but {whose} {count} columns")
    if not count:
        raise InputError("row 0 is empty")
    return rows


def _refuse_row(row: Any, r: int, columns: Columns) -> NoReturn:
    if isinstance(row, dict):
        why = "the model's columns have no names" if columns.names is None else "row 0 is an array"
        raise InputError(f"row {r} is an object, but {why}: send an array")
    raise InputError(f"row {r} is {shown(row)}, not an array of values")


def _by_name(row: Any, r: int, names: tuple[str, ...]) -> list[Any]:
    if not isinstance(row, dict):
        raise InputError(f"row {r} is {shown(row)}, but row 0 is an object")
    try:
        cells = [row[name] for name in names]
    except KeyError as error:
        raise InputError(f"row {r}: column {shown(error.args[0])} is missing") from None
    if len(row) != len(names):
        extra = next(name for name in row if name not in set(names))
        raise InputError(f"row {r}: the model has no column {shown(extra)}")
    return cells


def _fit_cells(rows: Sequence[Sequence[Any]], columns: Columns) -> Batch:
    kinds = set(map(type, chain.from_iterable(rows)))
    if kinds == {float} or (columns.uniform and kinds == {float, int}):
        try:
            return Batch(rows=len(rows), arrays={"": np.array(rows, dtype=np.float64)})
        except OverflowError:
            pass  # an integer beyond any float: found and named below
    fitted = []
    for i, values in enumerate(zip(*rows)):
        try:
            fitted.append(column(values, numeric=columns.is_numeric(i)))
        except CellError as error:
            raise _named(error, columns.label(i)) from None
    return table(fitted, columns)


def _named(error: CellError, label: str) -> InputError:
    return InputError(f"row {error.row}, {label}: {error.problem}")


def table(fitted: list[Array], columns: Columns) -> Batch:
    """One array where one will do, else one a column under its name (or number)."""
    count = len(fitted[0])
    kinds = {a.dtype for a in fitted}
    is_plain = all(d.kind in "biuf" for d in kinds)
    if len(kinds) == 1 or (columns.uniform and is_plain):
        return Batch(rows=count, arrays={"": np.stack(fitted, axis=1)})
    if columns.names is None:
        joined = np.empty(
            (count, len(fitted)), dtype=np.result_type(*kinds) if is_plain else object
        )
        for i, values in enumerate(fitted):
            joined[:, i] = values
        return Batch(rows=count, arrays={"": joined})
    return Batch(rows=count, arrays=dict(zip(columns.names, fitted)))


def _fit_csv(payload: Payload, columns: Columns) -> Batch:
    header, rows = parted(payload, lambda row: _is_header(row, columns))
    cells = cells_of(rows, columns)
    order: Sequence[int] = range(len(cells[0]))
    if header is not None and columns.names is not None:
        order = _header_order(header, columns.names)
    by_column = list(zip(*cells))
    fitted = []
    for i, source in enumerate(order):
        if i in columns.texts:
            fitted.append(objects([cell or None for cell in by_column[source]]))
            continue
        try:
            fitted.append(csv_column(by_column[source], numeric=columns.is_numeric(i)))
        except CellError as error:
            raise _named(error, columns.label(i)) from None
    return table(fitted, columns)


def _is_header(row: list[str], columns: Columns) -> bool:
    """The model's own names in any order; or no number at all where the model has only numbers."""
    if columns.names is not None and sorted(row) == sorted(columns.names):
        return True
    where = [c for i, c in enumerate(row) if columns.is_numeric(i)]
    return bool(where) and not any(is_number(c) or not c for c in row)


def _header_order(header: list[str], names: tuple[str, ...]) -> list[int]:
    position = {name: i for i, name in enumerate(header)}
    for name in header:
        if name not in names:
            raise InputError(f"the header has a column {shown(name)}, which the model doesn't have")
    for name in names:
        if name not in position:
            raise InputError(f"the header lacks the model's column {shown(name)}")
    if len(header) != len(names):
        raise InputError("the header names a column twice")
    return [position[name] for name in names]


def _fit_tensors(tensors: dict[str, Any], columns: Columns) -> Batch:
    """Form ``inputs``: the model's columns by name, or one table under any name."""
    names = columns.names
    if names is not None and set(tensors) & set(names):
        by_name = _by_name({**tensors}, 0, names) if set(tensors) != set(names) else None
        values = by_name or [tensors[n] for n in names]
        if all(map(arrays.is_numbers, values)):
            return table(arrays.columns_of(values, columns), columns)
        return _fit_cells(_transposed(values, columns), columns)
    if len(tensors) != 1:
        raise InputError(f"'inputs' must hold one table, got {len(tensors)} names")
    (value,) = tensors.values()
    if arrays.is_numbers(value):
        whole = arrays.table_of(value, columns)
        return Batch(rows=len(whole), arrays={"": whole})
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, list) or not value:
        raise InputError("there are no rows")
    if not isinstance(value[0], (list, dict)):
        value = _flat_rows(value, columns)
    return _fit_cells(cells_of(value, columns), columns)


def _transposed(values: list[Any], columns: Columns) -> list[tuple[Any, ...]]:
    lists = [v.tolist() if isinstance(v, np.ndarray) else v for v in values]
    for i, cells in enumerate(lists):
        if not isinstance(cells, list):
            raise InputError(f"{columns.label(i)}: {shown(cells)}, not an array of values")
        if len(cells) != len(lists[0]):
            other = f"{columns.label(0)} has {len(lists[0])}"
            raise InputError(f"{columns.label(i)} has {len(cells)} values, but {other}")
    demand_rows(lists[0])
    # a column sent as [[1], [2]] is a column all the same
    flat = [[c[0] if isinstance(c, list) and len(c) == 1 else c for c in cells] for cells in lists]
    return list(zip(*flat))
