"""Rows that are one thing each: a text, an object by name, a label, a list.

The other way of ``prepare``, for models that take no table: vectorizers, hashers and encoders of
labels. Takes a row bare, or alone in an array or object. Pure; knows no framework.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import numpy as np

from loaders.base import Array, Batch, InputError, Payload
from loaders.rows.cells import CellError, column, csv_column, objects, shown
from loaders.rows.header import demand_rows

Single = Literal["text", "objects", "labels", "text labels", "lists"]

_NEEDED: Final[dict[Single, str]] = {
    "text": "one text",
    "objects": "an object of names and values",
    "labels": "one label",
    "text labels": "one label",
    "lists": "an array of values",
}


def fit_singles(payload: Payload, kind: Single) -> Batch:
    """The payload as a batch of one thing a row; raises InputError."""
    rows = _only(payload.tensors) if payload.form == "inputs" else payload.rows
    demand_rows(rows)
    is_csv = payload.form == "csv"
    if kind == "lists" and is_csv:  # all rows are as wide as the longest
        rows = [[cell for cell in row if cell] for row in rows]
    values = [_one(row, r, kind) for r, row in enumerate(rows)]
    array = _labels(values, is_csv=is_csv) if kind == "labels" else objects(values)
    return Batch(rows=len(values), arrays={"": array})


def _labels(values: list[Any], *, is_csv: bool) -> Array:
    try:
        return csv_column(values, numeric=False) if is_csv else column(values, numeric=False)
    except CellError as error:
        raise InputError(f"row {error.row}: {error.problem}") from None


def _only(tensors: dict[str, Any]) -> list[Any]:
    if len(tensors) != 1:
        raise InputError(f"'inputs' must hold one list, got {len(tensors)} names")
    (value,) = tensors.values()
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, list):
        raise InputError(f"'inputs' must hold a list of rows, not {shown(value)}")
    return value


def _one(row: Any, r: int, kind: Single) -> Any:
    """A row's one thing; it may be wrapped where the wrapping can't be meant."""
    if isinstance(row, list) and len(row) == 1 and kind != "lists":
        row = row[0]
    elif isinstance(row, dict) and len(row) == 1 and kind != "objects":
        (row,) = row.values()
    if not _is(row, kind):
        raise InputError(f"row {r}: {shown(row)} where {_NEEDED[kind]} is needed")
    return row


def _is(row: Any, kind: Single) -> bool:
    if kind in {"text", "text labels"}:
        return isinstance(row, str)
    if kind == "labels":
        return not isinstance(row, (list, dict))
    return isinstance(row, dict if kind == "objects" else list)
