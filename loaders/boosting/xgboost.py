"""The loader of XGBoost models: ``.ubj``, ``.json``, and SageMaker's ``xgboost-model``.

Answers what ``Booster.predict`` gives, in one thread. Files are checked before XGBoost sees them
(``xgboost_document``); a pickled Booster is read by the restricted unpickler, and only its buffer
goes to XGBoost.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from loaders import sniff
from loaders.base import Array, Batch, LoadError, LoadOptions
from loaders.boosting.categories import Matrix, matrix_columns
from loaders.boosting.trees import (
    BoostingModel,
    Ensemble,
    cell_error,
    column_names,
    option,
    refuse_oversize,
)
from loaders.boosting.xgboost_document import (
    OLD_MAGIC,
    categories_of,
    check_document,
    model_part,
    read_document,
)
from loaders.boosting.xgboost_pickle import pickled_booster
from loaders.faults import first_line
from loaders.rows.columns import Columns

_SAGEMAKER: Final = "xgboost-model"
_OUTPUTS: Final = ("value", "margin", "leaf", "contribs")
_IN_PLACE: Final = {("gbtree", "value"), ("gbtree", "margin")}  # equal to predict, and faster
_MODEL: Final = re.compile(
    rb'\s*\{\s*("version"\s*:\s*\[[\d\s,]*\]\s*,\s*)?"learner"\s*:\s*\{'  # JSON
    rb"|\{(U.|i.|I..|l.{4}|L.{8})learner\{",  # UBJSON
    re.DOTALL,
)
_PICKLED: Final = re.compile(rb"xgboost\.core.{1,8}Booster", re.DOTALL)
_BOOSTER_WITHIN: Final = 200  # the class is the first thing a pickle names
_NO_FORMAT: Final = "data of no known format"


class XGBoostLoader:
    """Loads ``.ubj``, ``.json`` and ``xgboost-model``."""

    format = "xgboost"

    def recognises(self, path: Path, head: bytes) -> bool:
        if _MODEL.match(head) or head.startswith(OLD_MAGIC) or is_pickled_booster(head):
            return True
        is_named = path.name.lower() == _SAGEMAKER
        return is_named and (sniff.is_pickle(head) or sniff.describe(head) == _NO_FORMAT)

    def load(self, path: Path, options: LoadOptions) -> BoostingModel:
        refuse_oversize(path, "an XGBoost")
        data = path.read_bytes()
        if sniff.is_pickle(data[:8]) or is_pickled_booster(data[: sniff.HEAD_BYTES]):
            data = pickled_booster(path)
        document = read_document(data)
        if "Model" in document:  # a pickle holds settings of the training beside it
            data, document = model_part(data, document), document["Model"]
        check_document(document)
        try:
            return BoostingModel(_ensemble(_booster(data), document, options), options)
        except (LoadError, MemoryError):
            raise
        except Exception as error:
            raise LoadError(f"XGBoost can't load the model: {_why(error)}") from error


def is_pickled_booster(head: bytes) -> bool:
    """Whether this begins a pickle of a Booster, compressed or not."""
    kind = sniff.compression(head)
    if kind is not None:
        head = sniff.inner_head(head, kind)
    return _PICKLED.search(head[:_BOOSTER_WITHIN]) is not None


def _booster(data: bytes) -> Any:
    import xgboost as xgb  # by the first XGBoost model

    xgb.set_config(verbosity=0)  # else it writes to the server's log
    booster = xgb.Booster({"nthread": 1})
    booster.load_model(bytearray(data))
    booster.set_param({"nthread": 1})
    return booster


def _ensemble(booster: Any, document: dict[str, Any], options: LoadOptions) -> Ensemble:
    output = option(options, "output", _OUTPUTS)
    count = booster.num_features()
    categories = categories_of(document)
    columns = matrix_columns(column_names(booster.feature_names, count), count, categories)
    codes = {i: {c: code for code, c in enumerate(known)} for i, known in categories.items()}
    matrix = Matrix(columns, codes, refuses_unknown=True)
    is_in_place = (document["learner"]["gradient_booster"]["name"], output) in _IN_PLACE
    predict = _in_place(booster, output) if is_in_place else _of_matrix(booster, output)
    return Ensemble(
        format="xgboost",
        columns=columns,
        ready=lambda batch: _finite(matrix.ready(batch), columns),
        calls={"predict": predict},
        cell=matrix.cell,
    )


def _in_place(booster: Any, output: str) -> Callable[[Array], Any]:
    return lambda values: booster.inplace_predict(values, predict_type=output)


def _of_matrix(booster: Any, output: str) -> Callable[[Array], Any]:
    import xgboost as xgb  # it is there: the model is loaded

    wanted = {
        "margin": {"output_margin": True},
        "leaf": {"pred_leaf": True},
        "contribs": {"pred_contribs": True},
    }.get(output, {})

    def predict(values: Array) -> Any:
        matrix = xgb.DMatrix(
            values,
            feature_names=booster.feature_names,
            feature_types=booster.feature_types,
            enable_categorical=True,
            nthread=1,
        )
        return booster.predict(matrix, **wanted)

    return predict


def _finite(batch: Batch, columns: Columns) -> Batch:
    """Refuse infinities, as DMatrix does; XGBoost computes in float32."""
    values = batch.arrays[""]
    with np.errstate(over="ignore"):
        bad = np.isinf(values.astype(np.float32))
    if bad.any():
        row, index = (int(i) for i in np.argwhere(bad)[0])
        value = float(values[row, index])
        raise cell_error(row, columns.label(index), value, "is more than XGBoost takes")
    return batch


def _why(error: Exception) -> str:
    """What XGBoost says, without the time, its source's path, and the stack."""
    line = first_line(error)
    return re.sub(r"^\w+: \[[\d:]+\] \S+?:\d+: ", "", line)
