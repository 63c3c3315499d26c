"""A payload fitted to a model of named tensors, for the loaders of such formats.

Knows the ways in: rows for one tensor, rows by name for several, cells in the order of the inputs
where each takes one, whole tensors by name. Pure; the casting is ``loaders.rows.tensors``'.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from loaders.base import Array, Batch, InputError, Payload, TensorSpec
from loaders.rows.cells import CellError, csv_column, is_number, objects, shown
from loaders.rows.header import demand_rows, parted
from loaders.rows.tensors import sequence, tensor

_TRUTHS: Final = {"true": "1", "false": "0"}
_UP_TO_UINT64: Final = re.compile(r"[0-9]{1,20}").fullmatch


@dataclass
class _Apart(Batch):
    """Rows that run alone: their request gives values of its own to what all rows share."""

    @property
    def key(self) -> tuple[tuple[str, str, tuple[int, ...]], ...]:
        return (("", f"{id(self)}", ()),)


@dataclass(frozen=True)
class Feeds:
    """The inputs of a model; ``defaults`` are those that may be left out."""

    specs: tuple[TensorSpec, ...]
    defaults: tuple[TensorSpec, ...] = ()

    @property
    def sequences(self) -> frozenset[str]:
        """The inputs that take a list of tensors, which has no rows."""
        return frozenset(spec.name for spec in self.specs if _is_sequence(spec))

    @property
    def is_row_wise(self) -> bool:
        """Whether rows make sense: every input has a first axis."""
        return all(spec.shape and not _is_sequence(spec) for spec in self.specs)

    @property
    def is_cells(self) -> bool:
        """Whether every input takes one value a row, so that rows may be lines of a table."""
        return all(spec.shape[1:] in {(), (1,)} for spec in self.specs) and self.is_row_wise

    def fit(self, payload: Payload) -> Batch:
        """The payload as a batch; raises InputError."""
        if payload.form == "inputs":
            return self._by_input(payload.tensors)
        if not self.is_row_wise:
            raise InputError(
                'this model has inputs without rows: send {"inputs": {…}} with '
                + ", ".join(shown(s.name) for s in self.specs)
            )
        if payload.form == "csv":
            return self._csv(payload)
        rows = self._flat(payload.rows) if payload.flat else payload.rows
        demand_rows(rows)
        if len(self.specs) == 1:
            return self._single(rows)
        return self._several(rows)

    def _flat(self, rows: list[Any]) -> list[Any]:
        cells = rows[0] if len(rows) == 1 and isinstance(rows[0], list) else rows
        if len(self.specs) == 1:
            trailing = self.specs[0].shape[1:]
            if trailing == ():
                return cells
            return [[c] for c in cells] if trailing == (1,) else [cells]
        return [cells]

    def _single(self, rows: list[Any]) -> Batch:
        (spec,) = self.specs
        if isinstance(rows[0], dict):
            rows = [_by_name(row, r, (spec,))[0] for r, row in enumerate(rows)]
        return _batch({spec.name: _column(rows, spec, "")})

    def _several(self, rows: list[Any]) -> Batch:
        cells = rows
        if isinstance(rows[0], dict):
            cells = [_by_name(row, r, self.specs) for r, row in enumerate(rows)]
        elif self.is_cells:
            pass  # lines of a table: one value an input, in their order
        else:
            names = ", ".join(shown(s.name) for s in self.specs)
            raise InputError(f"row 0 must be an object of the model's inputs: {names}")
        for r, row in enumerate(cells):
            if not isinstance(row, (list, tuple)) or len(row) != len(self.specs):
                has = f"has {len(row)} values" if isinstance(row, list) else f"is {shown(row)}"
                raise InputError(f"row {r} {has}, but the model has {len(self.specs)} inputs")
        by_input = zip(self.specs, zip(*cells))
        return _batch({s.name: _column(list(v), s, _input_label(s)) for s, v in by_input})

    def _by_input(self, tensors: dict[str, Any]) -> Batch:
        if len(self.specs) == 1 and tensors.keys() == {""}:
            tensors = {self.specs[0].name: self._bare(tensors[""])}
        given = tuple(spec for spec in self.defaults if spec.name in tensors)
        specs = self.specs + given
        values = _by_name(tensors, None, specs)
        arrays = {}
        for spec, value in zip(specs, values):
            label = _input_label(spec) if len(specs) > 1 else ""
            fitted = sequence if _is_sequence(spec) else tensor
            arrays[spec.name] = fitted(value, spec, label)
        rows = _batch({spec.name: arrays[spec.name] for spec in self.specs}).rows
        return _Apart(rows, arrays) if given else Batch(rows, arrays)

    def _bare(self, value: Any) -> Any:
        """The only tensor: if it is flat and the model's are rows, one row or rows of one."""
        (spec,) = self.specs
        if len(spec.shape) != 2:
            return value
        if isinstance(value, np.ndarray):
            if value.ndim != 1:
                return value
            return value[:, np.newaxis] if spec.shape[1] == 1 else value[np.newaxis]
        is_flat = isinstance(value, list) and not any(isinstance(v, list) for v in value)
        return self._flat(value) if is_flat else value

    def _csv(self, payload: Payload) -> Batch:
        demand_rows(payload.rows)
        width = self._width(payload.rows)
        header, rows = parted(payload, self._is_header)
        for r, row in enumerate(rows):
            if len(row) != width:
                raise InputError(
                    f"row {r} has {len(row)} values, but the model has {width} columns"
                )
        cells: list[Any] = list(zip(*rows))
        if len(self.specs) > 1:
            cells = self._ordered(cells, header)
        specs = self.specs if len(self.specs) > 1 else self.specs * width
        columns = [_csv_cells(c, spec, i) for i, (c, spec) in enumerate(zip(cells, specs))]
        if len(self.specs) > 1:
            fitted = {s.name: _as_rows(c, s) for s, c in zip(specs, columns)}
            return _batch({s.name: tensor(fitted[s.name], s, _input_label(s)) for s in specs})
        (spec,) = self.specs
        joined = columns[0] if spec.shape[1:] == () else np.stack(columns, axis=1)
        return _batch({spec.name: tensor(joined, spec)})

    def _width(self, rows: Sequence[Sequence[str]]) -> int:
        if len(self.specs) > 1:
            if not self.is_cells:
                raise InputError("this model's inputs aren't a table: send JSON")
            return len(self.specs)
        trailing = self.specs[0].shape[1:]
        if len(trailing) > 1:
            raise InputError("this model's input isn't a table: send JSON")
        width = trailing[0] if trailing else 1
        return width if width is not None else len(rows[0])

    def _is_header(self, row: list[str]) -> bool:
        if sorted(row) == sorted(s.name for s in self.specs):
            return True
        dtypes = {spec.dtype for spec in self.specs}
        if "bool" in dtypes and any(cell.lower() in _TRUTHS for cell in row):
            return False
        return dtypes != {"str"} and not any(is_number(cell) or not cell for cell in row)

    def _ordered(self, columns: list[Any], header: list[str] | None) -> list[Any]:
        names = [spec.name for spec in self.specs]
        if header is None or sorted(header) != sorted(names):
            return columns
        return [columns[header.index(name)] for name in names]


def _is_sequence(spec: TensorSpec) -> bool:
    return spec.dtype.startswith("seq(")


def _by_name(row: Any, r: int | None, specs: Sequence[TensorSpec]) -> list[Any]:
    """The inputs of a row (or of the request), all there and no other."""
    where = "" if r is None else f"row {r}: "
    if not isinstance(row, dict):
        raise InputError(f"{where}{shown(row)} where an object of the model's inputs is needed")
    missing = [s.name for s in specs if s.name not in row]
    if missing:
        raise InputError(f"{where}input {shown(missing[0])} is missing")
    if len(row) != len(specs):
        known = {s.name for s in specs}
        extra = next(name for name in row if name not in known)
        raise InputError(f"{where}the model has no input {shown(extra)}")
    return [row[s.name] for s in specs]


def _csv_cells(cells: Sequence[str], spec: TensorSpec, index: int) -> Array:
    if spec.dtype == "str":
        return objects(cells)
    if spec.dtype == "bool":
        cells = [_TRUTHS.get(cell.lower(), cell) for cell in cells]
    elif spec.dtype == "uint64" and all(map(_UP_TO_UINT64, cells)):
        return objects([int(cell) for cell in cells])  # else they would come as floats
    try:
        return csv_column(cells, numeric=True)
    except CellError as error:
        raise InputError(f"row {error.row}, column {index}: {error.problem}") from None


def _as_rows(cells: Array, spec: TensorSpec) -> Array:
    return cells.reshape(len(cells), *spec.shape[1:])  # () or (1,): see is_cells


def _input_label(spec: TensorSpec) -> str:
    return f"input {shown(spec.name)}: "


def _column(values: Any, spec: TensorSpec, label: str) -> Array:
    """One input's rows; bare values where each row is an array of one."""
    if spec.shape[1:] == (1,) and not any(isinstance(v, list) for v in values):
        values = [[v] for v in values]
    if spec.shape[1:] == () and all(isinstance(v, list) and len(v) == 1 for v in values):
        values = [v[0] for v in values]
    return tensor(values, spec, label)


def _batch(arrays: dict[str, Array]) -> Batch:
    sizes = {len(a) for a in arrays.values() if a.ndim}
    rows = next((len(a) for a in arrays.values() if a.ndim), 1)
    return Batch(rows=max(rows, *sizes, 1) if sizes else 1, arrays=arrays)
