"""The loader of CatBoost models: ``.cbm``.

Answers what ``CatBoostClassifier`` or ``CatBoostRegressor`` would, as the loss says that the model
was trained with: labels and probabilities, or values. In one thread. Categories are texts or whole
numbers, as CatBoost has it; a broken number or a missing value there is the request's error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from loaders.base import Array, Batch, LoadError, LoadOptions
from loaders.boosting.trees import (
    BoostingModel,
    Ensemble,
    cell_error,
    column_names,
    columns_of,
    refuse_other_options,
    refuse_oversize,
)
from loaders.faults import first_line
from loaders.rows.cells import objects
from loaders.rows.columns import Columns

_OF_CLASSES: Final = {
    "predict": "Class",
    "predict_proba": "Probability",
    "predict_log_proba": "LogProbability",
    "decision_function": "RawFormulaVal",
}
_EXPONENTS: Final = frozenset({"Poisson", "Tweedie"})  # whose values are logarithms


class CatBoostLoader:
    """Loads ``.cbm``."""

    format = "catboost"

    def recognises(self, path: Path, head: bytes) -> bool:
        del path
        return head.startswith(b"CBM1")

    def load(self, path: Path, options: LoadOptions) -> BoostingModel:
        refuse_oversize(path, "a CatBoost")
        _check_length(path)
        try:
            return BoostingModel(_ensemble(_model(path), options), options)
        except (LoadError, MemoryError):
            raise
        except Exception as error:
            raise LoadError(f"CatBoost can't load the model: {_why(error)}") from error


def _check_length(path: Path) -> None:
    """The file's first part is as long as it says."""
    with path.open("rb") as file:
        size, head = os.fstat(file.fileno()).st_size, file.read(8)
    if len(head) < 8 or int.from_bytes(head[4:], "little") > size - 8:
        raise LoadError("the CatBoost model is corrupt or cut short")


def _model(path: Path) -> Any:
    import catboost as cb  # by the first CatBoost model

    model = cb.CatBoost()
    model.load_model(str(path))
    return model


def _ensemble(model: Any, options: LoadOptions) -> Ensemble:
    refuse_other_options(options)
    if model.get_embedding_feature_indices():
        raise LoadError("the CatBoost model takes embeddings, which isn't supported here")
    names = model.feature_names_
    count = len(names)
    cats = frozenset(map(int, model.get_cat_feature_indices()))
    texts = frozenset(map(int, model.get_text_feature_indices()))
    columns = Columns(
        names=column_names(names, count),
        count=count,
        numeric=frozenset(range(count)) - cats - texts if cats | texts else None,
        uniform=not cats | texts,
        texts=cats | texts,
    )
    rows = _Rows(columns, cats, texts)
    return Ensemble(
        format="catboost",
        columns=columns,
        ready=rows.ready,
        calls={name: _call(model, kind) for name, kind in _prediction_types(model).items()},
        cell=lambda index: "a" if index in columns.texts else 0.0,
    )


def _prediction_types(model: Any) -> Mapping[str, str]:
    """What CatBoost calls each method's answer, by the loss of the training."""
    import catboost as cb  # it is there: the model is loaded

    loss = model.get_all_params().get("loss_function")
    loss = loss.partition(":")[0] if isinstance(loss, str) else ""
    if cb.CatBoost._is_classification_objective(loss):  # noqa: SLF001 - no other way to ask
        return _OF_CLASSES
    if loss in _EXPONENTS:
        return {"predict": "Exponent"}
    return {"predict": loss if loss == "RMSEWithUncertainty" else "RawFormulaVal"}


def _call(model: Any, kind: str) -> Callable[[Array], Any]:
    return lambda values: model.predict(values, prediction_type=kind, thread_count=1)


@dataclass(frozen=True)
class _Rows:
    """Fitted rows as CatBoost takes them: numbers, or Python objects where there are categories."""

    columns: Columns
    cats: frozenset[int]
    texts: frozenset[int]

    def ready(self, batch: Batch) -> Batch:
        if not self.columns.texts:
            return Batch(rows=batch.rows, arrays={"": batch.arrays[""].astype(np.float64)})
        joined = np.empty((batch.rows, self.columns.count or 0), dtype=object)
        for i, column in enumerate(columns_of(batch)):
            if i in self.columns.texts:
                self._check(column, i)
                joined[:, i] = objects(column.tolist())
            else:
                joined[:, i] = column.astype(np.float64)
        return Batch(rows=batch.rows, arrays={"": joined})

    def _check(self, column: Array, index: int) -> None:
        kinds = (str, int) if index in self.cats else (str,)
        for row, value in enumerate(column.tolist()):
            if type(value) not in kinds:
                need = "a text or a whole number" if index in self.cats else "a text"
                label = self.columns.label(index)
                value = None if value != value else value  # noqa: PLR0124, PLW2901 - NaN
                raise cell_error(row, label, value, f"where {need} is needed")


def _why(error: Exception) -> str:
    """What CatBoost says, without its sources' paths and the file's."""
    line = re.sub(r"^\w+: \S+\.(cpp|h):\d+: ", "", first_line(error))
    return re.sub(r"(?<![\w.])/\S+", "the file", line)
