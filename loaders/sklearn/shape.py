"""What a fitted scikit-learn model takes: the columns, their names, and which must be numbers.

Reads the model, changes nothing. Where it can't tell it says "anything", and the model itself
refuses what it doesn't like.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from loaders.rows.columns import Columns
from loaders.rows.singles import Single
from loaders.sklearn.parts import parts

Kind = Literal["table", Single]

_TAKES_TEXT: Final = frozenset({
    "OneHotEncoder",
    "OrdinalEncoder",
    "TargetEncoder",
    "SimpleImputer",
    "MissingIndicator",
    "FunctionTransformer",
    "FeatureHasher",
    "DictVectorizer",
    "CountVectorizer",
    "TfidfVectorizer",
    "HashingVectorizer",
    "LabelEncoder",
    "LabelBinarizer",
    "MultiLabelBinarizer",
    "DummyClassifier",
    "DummyRegressor",
})  # fmt: skip
_TEXT_FRONT: Final = frozenset({"CountVectorizer", "TfidfVectorizer", "HashingVectorizer"})


_INNER: Final = {  # classes that hand a request on as it is, and the attribute to which they do
    "CalibratedClassifierCV": "calibrated_classifiers_",
    "_CalibratedClassifier": "estimator",
    "FixedThresholdClassifier": "estimator_",
    "FrozenEstimator": "estimator",
    "GridSearchCV": "best_estimator_",
    "HalvingGridSearchCV": "best_estimator_",
    "HalvingRandomSearchCV": "best_estimator_",
    "MultiOutputClassifier": "estimators_",
    "MultiOutputRegressor": "estimators_",
    "OneVsRestClassifier": "estimators_",
    "OutputCodeClassifier": "estimators_",
    "RandomizedSearchCV": "best_estimator_",
    "SelfTrainingClassifier": "estimator_",
    "StackingClassifier": "estimators_",
    "StackingRegressor": "estimators_",
    "TransformedTargetRegressor": "regressor_",
    "TunedThresholdClassifierCV": "estimator_",
    "VotingClassifier": "estimators_",
    "VotingRegressor": "estimators_",
}  # fmt: skip


def front(model: Any) -> Any:
    """The estimator that sees the request first."""
    for _ in range(100):  # nested pipelines; bounded, since a pickle may hold a circle
        inner = _first_step(model) or getattr(model, _INNER.get(type(model).__name__, ""), None)
        if isinstance(inner, list):
            inner = inner[0] if inner else None
        if inner is None:
            break
        model = inner
    return model


def _first_step(model: Any) -> Any:
    """The step of a pipeline or union that looks at the request, ``None`` for anything else."""
    steps = getattr(model, "steps", None) or getattr(model, "transformer_list", None)
    if not steps or not isinstance(steps, list):
        return None
    able = [step[1] for step in steps[:-1] if hasattr(step[1], "transform")] + [steps[-1][1]]
    return next((step for step in able if not _is_blind(step)), able[0])


def _is_blind(step: Any) -> bool:
    """A function that was given no table, so that what follows tells what it is given."""
    return type(step).__name__ == "FunctionTransformer" and not hasattr(step, "n_features_in_")


def input_kind(model: Any) -> Kind:
    """Whether rows are lines of a table, or one thing each."""
    first = front(model)
    name = type(first).__name__
    if name in _TEXT_FRONT:
        return "text"
    if name == "FeatureHasher":
        return "objects" if first.input_type == "dict" else "lists"
    if name == "MultiLabelBinarizer":
        return "lists"
    if name == "LabelEncoder" or (name == "LabelBinarizer" and "multilabel" not in first.y_type_):
        return "text labels" if all(isinstance(c, str) for c in first.classes_) else "labels"
    return "objects" if name == "DictVectorizer" else "table"


def input_columns(model: Any) -> Columns:
    """The columns of a model that takes a table."""
    names = _names(model)
    # CatBoost's own classes forget it when they are pickled, and say 0
    count = len(names) if names is not None else getattr(model, "n_features_in_", 0) or None
    numeric = None if _needs_numbers(model) else _numeric_columns(front(model))
    return Columns(names=names, count=count, numeric=numeric, uniform=numeric is None)


def _names(model: Any) -> tuple[str, ...] | None:
    names = getattr(model, "feature_names_in_", None)
    if names is None or not len(names) or not all(isinstance(n, str) for n in names):
        return None
    return tuple(str(n) for n in names)


def _needs_numbers(model: Any) -> bool:
    """Whether nothing below the model could make use of text."""
    return not any(_takes_text(part) for part in parts(model) if hasattr(part, "fit"))


def _takes_text(part: Any) -> bool:
    kind = part if isinstance(part, type) else type(part)
    if not kind.__module__.startswith("sklearn."):
        return True  # a user's class: who knows
    if getattr(part, "_preprocessor", None) is not None:
        return True  # histogram boosting with categories
    return kind.__name__ in _TAKES_TEXT or "passthrough" in str(getattr(part, "remainder", ""))


def _numeric_columns(first: Any) -> frozenset[int]:
    """The columns a ColumnTransformer gives only to estimators that need numbers."""
    where: dict[str, list[int]] = getattr(first, "_transformer_to_input_indices", {})
    numbers: set[int] = set()
    others: set[int] = set()
    for name, transformer, *_ in getattr(first, "transformers_", []):
        taken = where.get(name, [])
        is_number = hasattr(transformer, "fit") and _needs_numbers(transformer)
        (numbers if is_number else others).update(int(i) for i in taken)
    return frozenset(numbers - others)
