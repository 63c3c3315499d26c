"""A fitted scikit-learn estimator as a :class:`~loaders.base.Model`.

Owns the way from rows to ``predict`` and back: one DataFrame or array a batch, dense arrays out.
Never unpickles (``loaders.joblib`` does) and never trains.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from loaders.base import (
    Array,
    Batch,
    InputError,
    LoadError,
    LoadOptions,
    Outputs,
    Payload,
    Signature,
    TensorSpec,
)
from loaders.cells import objects, shown
from loaders.faults import as_input_error
from loaders.parts import bound_threads, is_row_wise
from loaders.rows import Columns, fit_rows
from loaders.shape import input_columns, input_kind

METHODS: Final = (
    "predict",
    "predict_proba",
    "predict_log_proba",
    "decision_function",
    "transform",
    "score_samples",
)
MAX_DENSE_BYTES: Final = 1 << 28
"""How large a sparse answer may get when it is written out in full."""


class EstimatorModel:
    """One estimator, its columns, and what it can do."""

    format = "sklearn"

    def __init__(self, estimator: Any, options: LoadOptions) -> None:
        bound_threads(estimator)
        self.methods = _methods(estimator, options.method)
        is_given = options.batchable is not None
        self.batchable = bool(options.batchable) if is_given else is_row_wise(estimator)
        self._calls = {name: getattr(estimator, name) for name in self.methods}
        self._kind = input_kind(estimator)
        self._columns = input_columns(estimator)
        self._index = _index(self._columns)
        self.signature = _signature(estimator, self._columns, self._kind)

    def prepare(self, payload: Payload) -> Batch:
        if self._kind == "table":
            return fit_rows(payload, self._columns)
        rows = payload.rows
        if payload.form == "inputs":
            rows = _only(payload.tensors)
        wanted = str if self._kind == "text" else dict
        values = [_one(row, r, wanted) for r, row in enumerate(rows)]
        if not values:
            raise InputError("there are no rows")
        return Batch(rows=len(values), arrays={"": objects(values)})

    def run(self, method: str, batch: Batch) -> Outputs:
        call: Callable[[Any], Any] = self._calls[method]
        try:
            answer = call(self._input(batch))
        except (ValueError, TypeError) as error:
            known = as_input_error(error, batch, self._columns)
            if known is None:
                raise
            raise known from error
        return _outputs(method, answer, batch.rows)

    def _input(self, batch: Batch) -> Any:
        whole = batch.arrays.get("") if len(batch.arrays) == 1 else None
        if self._index is None:
            return whole
        import pandas as pd  # a model without named columns never needs it

        if whole is not None:
            return pd.DataFrame(whole, columns=self._index, copy=False)
        return pd.DataFrame(batch.arrays, copy=False)


def _index(columns: Columns) -> Any:
    if columns.names is None:
        return None
    import pandas as pd  # only for named columns

    return pd.Index(columns.names)


def _methods(estimator: Any, default: str | None) -> tuple[str, ...]:
    found = [name for name in METHODS if callable(getattr(estimator, name, None))]
    if not found:
        raise LoadError(
            f"the file holds a {type(estimator).__name__}, which has no predict or transform"
        )
    if "predict" not in found and "transform" in found:
        found.sort(key=lambda name: name != "transform")
    if default is not None:
        if default not in found:
            raise LoadError(f"the model has no method {shown(default)}, it has {', '.join(found)}")
        found.sort(key=lambda name: name != default)
    return tuple(found)


def _only(tensors: dict[str, Any]) -> list[Any]:
    if len(tensors) != 1:
        raise InputError(f"'inputs' must hold one list, got {len(tensors)} names")
    (value,) = tensors.values()
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, list):
        raise InputError(f"'inputs' must hold a list of rows, not {shown(value)}")
    return value


def _one(row: Any, r: int, wanted: type[Any]) -> Any:
    """A row that is one text, or one object, bare or alone in an array or object."""
    if isinstance(row, list) and len(row) == 1:
        row = row[0]
    elif wanted is str and isinstance(row, dict) and len(row) == 1:
        (row,) = row.values()
    if not isinstance(row, wanted):
        need = "one text" if wanted is str else "an object of names and values"
        raise InputError(f"row {r}: {shown(row)} where {need} is needed")
    return row


def _outputs(method: str, answer: Any, rows: int) -> Outputs:
    if isinstance(answer, (list, tuple)):  # one array a target
        arrays = {f"output_{i}": _dense(part) for i, part in enumerate(answer)}
        is_single = len(arrays) == 1
    else:
        arrays, is_single = {method: _dense(answer)}, True
    is_batched = all(a.ndim > 0 and len(a) == rows for a in arrays.values())
    return Outputs(arrays=arrays, single=is_single, batched=is_batched)


def _dense(answer: Any) -> Array:
    if hasattr(answer, "toarray"):
        size = int(np.prod(answer.shape)) * answer.dtype.itemsize
        if size > MAX_DENSE_BYTES:
            raise InputError(f"the answer would take {size >> 20} MiB: send fewer rows at once")
        answer = answer.toarray()
    return np.asarray(answer)


def _signature(estimator: Any, columns: Columns, kind: str) -> Signature:
    if kind != "table":
        inputs: tuple[TensorSpec, ...] = (TensorSpec(name="", dtype="str", shape=(None,)),)
    elif columns.names is None:
        dtype = "float64" if columns.numeric is None else "any"
        inputs = (TensorSpec(name="", dtype=dtype, shape=(None, columns.count)),)
    else:
        inputs = tuple(
            TensorSpec(name=n, dtype="float64" if columns.is_numeric(i) else "any", shape=(None,))
            for i, n in enumerate(columns.names)
        )
    classes, dtype = getattr(estimator, "classes_", None), "any"
    if isinstance(classes, np.ndarray) and classes.ndim == 1:
        dtype = "str" if classes.dtype.kind in "OU" else classes.dtype.name
    return Signature(inputs=inputs, outputs=(TensorSpec(name="", dtype=dtype, shape=(None,)),))
