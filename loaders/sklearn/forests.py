"""The quick way through a forest: the same numbers as scikit-learn's, without its cost per tree.

``predict`` of a forest makes a job of every tree, and each checks the input and copies the settings
anew; for a few rows that takes ten times as long as the tree itself. Here the input is checked once
and the trees are gone through in the same order, with the same additions, so that every bit of the
answer is the same. Only for the classes and the versions of scikit-learn that this holds for;
others keep their own methods.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from loaders.environment import installed

_FIRST, _LAST = (1, 5), (1, 9)  # versions whose trees' own predict is what stands here
_TREES: Final = {
    "RandomForestClassifier": "DecisionTreeClassifier",
    "RandomForestRegressor": "DecisionTreeRegressor",
    "ExtraTreesClassifier": "ExtraTreeClassifier",
    "ExtraTreesRegressor": "ExtraTreeRegressor",
}

Calls = dict[str, Callable[[Any], Any]]


def quick_calls(estimator: Any) -> Calls:
    """Methods to call in place of the estimator's own; empty where there is nothing to gain."""
    if not _is_plain_forest(estimator):
        return {}
    trees = [tree.tree_ for tree in estimator.estimators_]
    if type(estimator).__name__.endswith("Regressor"):
        return {"predict": lambda rows: _means(estimator, trees, rows)}
    return {
        "predict": lambda rows: estimator.classes_.take(
            np.argmax(_shares(estimator, trees, rows), axis=1), axis=0
        ),
        "predict_proba": lambda rows: _shares(estimator, trees, rows),
    }


def _means(estimator: Any, trees: list[Any], rows: Any) -> Any:
    rows = estimator._validate_X_predict(rows)  # noqa: SLF001 - what its own predict begins with
    total = np.zeros(rows.shape[0], dtype=np.float64)
    for tree in trees:
        total += tree.predict(rows)[:, 0]
    total /= len(trees)
    return total


def _shares(estimator: Any, trees: list[Any], rows: Any) -> Any:
    rows = estimator._validate_X_predict(rows)  # noqa: SLF001 - as above
    total = np.zeros((rows.shape[0], estimator.n_classes_), dtype=np.float64)
    for tree in trees:
        total += tree.predict(rows)
    total /= len(trees)
    return total


def _is_plain_forest(estimator: Any) -> bool:
    """A forest of one output whose trees are all of its own kind and shape."""
    kind = type(estimator)
    name = _TREES.get(kind.__name__)
    if name is None or kind.__module__ != "sklearn.ensemble._forest" or not _is_known_version():
        return False
    from sklearn import tree as trees  # here already: a forest was loaded

    tree_kind = getattr(trees, name)
    state = vars(estimator)
    grown = state.get("estimators_")
    if state.get("n_outputs_") != 1 or type(grown) is not list or not grown:
        return False
    shape = _shape(estimator)
    return all(type(tree) is tree_kind and _fits(tree, shape) for tree in grown)


def _shape(estimator: Any) -> tuple[Any, Any]:
    state = vars(estimator)
    return state.get("n_features_in_"), state.get("n_classes_", 1)


def _fits(tree: Any, shape: tuple[Any, Any]) -> bool:
    """What it would check at every call, and that its leaves hold as many values as are added."""
    features, classes = shape
    own = vars(tree).get("tree_")
    return (
        own is not None
        and vars(tree).get("n_features_in_") == features == own.n_features
        and vars(tree).get("n_outputs_") == 1 == own.n_outputs
        and vars(tree).get("n_classes_", 1) == classes == own.max_n_classes
    )


def _is_known_version() -> bool:
    found = re.match(r"(\d+)\.(\d+)\.", installed("scikit-learn") or "")
    return found is not None and _FIRST <= (int(found[1]), int(found[2])) <= _LAST
