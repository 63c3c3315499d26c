"""A fitted scikit-learn estimator as a :class:`~loaders.base.Model`.

Owns the way from rows to ``predict`` and back: one DataFrame or array a batch, dense arrays out.
Never unpickles (``loaders.sklearn.joblib`` does) and never trains.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, Final

import numpy as np

from loaders.base import (
    Batch,
    LoadError,
    LoadOptions,
    Outputs,
    Payload,
    Signature,
    TensorSpec,
)
from loaders.faults import first_line
from loaders.rows.cells import shown
from loaders.rows.columns import Columns, fit_rows
from loaders.rows.singles import fit_singles
from loaders.rows.stacked import stack_rows
from loaders.sklearn.answers import outputs_of
from loaders.sklearn.faults import OtherVersion, as_input_error
from loaders.sklearn.forests import quick_calls
from loaders.sklearn.parts import bound_threads, is_row_wise, parts
from loaders.sklearn.shape import input_columns, input_kind

METHODS: Final = (
    "predict",
    "predict_proba",
    "predict_log_proba",
    "decision_function",
    "transform",
    "score_samples",
)


class EstimatorModel:
    """One estimator, its columns, and what it can do."""

    format = "sklearn"

    def __init__(self, estimator: Any, options: LoadOptions, versions: str = "") -> None:
        """``versions`` says that another version made the model, as an error's text will."""
        self._versions = versions
        bound_threads(estimator)
        _require_frames(estimator)
        self.estimator = estimator
        self.methods = _methods(estimator, options.method)
        is_given = options.batchable is not None
        self.batchable = bool(options.batchable) if is_given else is_row_wise(estimator)
        own = {name: getattr(estimator, name) for name in self.methods}
        self._calls = {**own, **quick_calls(estimator)}
        self._kind = input_kind(estimator)
        self.takes_sparse = self._kind == "table"
        self._columns = input_columns(estimator)
        self._index = _index(self._columns)
        self.signature = _signature(estimator, self._columns, self._kind)

    def prepare(self, payload: Payload) -> Batch:
        if self._kind == "table":
            return fit_rows(payload, self._columns)
        return fit_singles(payload, self._kind)

    def stack(self, requests: Sequence[list[Any]]) -> Batch | None:
        return stack_rows(requests, self._columns) if self._kind == "table" else None

    def run(self, method: str, batch: Batch) -> Outputs:
        call: Callable[[Any], Any] = self._calls[method]
        try:
            answer = call(self._input(batch))
        except MemoryError:
            raise
        except Exception as error:
            explained = self._explained(error, batch)
            if explained is None:
                raise
            raise explained from error
        return outputs_of(method, answer, batch.rows)

    def _explained(self, error: Exception, batch: Batch) -> Exception | None:
        """The error as the request's fault, or that of the versions; ``None``: as it is."""
        if isinstance(error, (ValueError, TypeError)):
            known = as_input_error(error, batch, self._columns)
            if known is not None:
                return known
        return OtherVersion(f"{first_line(error)}; {self._versions}") if self._versions else None

    def _input(self, batch: Batch) -> Any:
        whole = batch.arrays.get("") if len(batch.arrays) == 1 else None
        if self._index is None or hasattr(whole, "tocsr"):
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


def _require_frames(estimator: Any) -> None:
    """What a model answers in must be installed."""
    for part in parts(estimator):
        config = getattr(part, "__dict__", {}).get("_sklearn_output_config", {})
        library = config.get("transform", "default")
        if library not in {"default", "pandas"} and find_spec(str(library)) is None:
            name = type(part).__name__
            raise LoadError(
                f"the {name} has set_output(transform={shown(library)}), which isn't installed "
                "here: save it with 'default' or 'pandas'"
            )


def _methods(estimator: Any, default: str | None) -> tuple[str, ...]:
    found = [name for name in METHODS if callable(getattr(estimator, name, None))]
    if not found:
        why = ": it knows only the rows it was fitted on" if _learns_by_heart(estimator) else ""
        name = type(estimator).__name__
        article = "an" if name[:1] in "AEIOU" else "a"
        raise LoadError(f"the file holds {article} {name}, which has no predict or transform{why}")
    if "predict" not in found and "transform" in found:
        found.sort(key=lambda name: name != "transform")
    if default is not None:
        if default not in found:
            raise LoadError(f"the model has no method {shown(default)}, it has {', '.join(found)}")
        found.sort(key=lambda name: name != default)
    return tuple(found)


def _learns_by_heart(estimator: Any) -> bool:
    """Whether it could answer for the rows of its own ``fit``, and no other."""
    return hasattr(estimator, "fit_predict") or hasattr(estimator, "fit_transform")


def _signature(estimator: Any, columns: Columns, kind: str) -> Signature:
    single = TensorSpec(name="", dtype="str", shape=(None,))
    inputs = columns.specs() if kind == "table" else (single,)
    classes, dtype = getattr(estimator, "classes_", None), "any"
    if isinstance(classes, np.ndarray) and classes.ndim == 1:
        dtype = "str" if classes.dtype.kind in "OU" else classes.dtype.name
    return Signature(inputs=inputs, outputs=(TensorSpec(name="", dtype=dtype, shape=(None,)),))
