"""What a fitted scikit-learn model takes: the columns, their names, and which must be numbers.

Reads the model, changes nothing. Where it can't tell it says "anything", and the model itself
refuses what it doesn't like.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from loaders.parts import parts
from loaders.rows import Columns

Kind = Literal["table", "text", "objects"]

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


def front(model: Any) -> Any:
    """The estimator that sees the request first."""
    for _ in range(100):  # nested pipelines; bounded, since a pickle may hold a circle
        steps = getattr(model, "steps", None) or getattr(model, "transformer_list", None)
        if steps and isinstance(steps, list):
            model = next((s[1] for s in steps if hasattr(s[1], "transform")), steps[-1][1])
        elif hasattr(model, "best_estimator_"):
            model = model.best_estimator_
        else:
            break
    return model


def input_kind(model: Any) -> Kind:
    """Whether rows are lines of a table, texts, or free objects by name."""
    first = front(model)
    name = type(first).__name__
    if name in _TEXT_FRONT:
        return "text"
    is_hasher = name == "FeatureHasher" and first.input_type == "dict"
    return "objects" if name == "DictVectorizer" or is_hasher else "table"


def input_columns(model: Any) -> Columns:
    """The columns of a model that takes a table."""
    names = _names(model)
    count = len(names) if names is not None else getattr(model, "n_features_in_", None)
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
