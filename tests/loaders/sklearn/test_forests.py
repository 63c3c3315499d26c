"""Forests' quick calls give scikit-learn's own answers, bit for bit, and only where they may."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeClassifier, ExtraTreeRegressor

from loaders.sklearn import forests
from loaders.sklearn.forests import quick_calls

RNG = np.random.default_rng(7)
X = RNG.normal(size=(300, 5))
FORESTS = (
    RandomForestRegressor,
    ExtraTreesRegressor,
    RandomForestClassifier,
    ExtraTreesClassifier,
)


def _fitted(kind: Any, rows: Any = X) -> Any:
    values = X[:, 0] + RNG.normal(size=len(X))
    is_classifier = kind.__name__.endswith("Classifier")
    labels = np.array(["low", "middle", "high"])[np.digitize(values, [-0.5, 1])]
    return kind(25, random_state=3).fit(rows, labels if is_classifier else values)


@pytest.mark.parametrize("rows", [1, 7, 300])
@pytest.mark.parametrize("kind", FORESTS)
def test_every_bit_is_the_same(kind: Any, rows: int) -> None:
    forest = _fitted(kind)
    calls = quick_calls(forest)
    assert "predict" in calls
    for name, call in calls.items():
        np.testing.assert_array_equal(call(X[:rows]), getattr(forest, name)(X[:rows]), strict=True)


def test_missing_values_and_sparse_rows_go_the_same_way() -> None:
    holes = X.copy()
    holes[::7, 2] = np.nan
    forest = _fitted(RandomForestRegressor, holes)
    np.testing.assert_array_equal(quick_calls(forest)["predict"](holes), forest.predict(holes))
    sparse = csr_array(np.where(X > 0.5, X, 0))
    forest = _fitted(RandomForestClassifier)
    quick = quick_calls(forest)["predict_proba"](sparse)
    np.testing.assert_array_equal(quick, forest.predict_proba(sparse))


def test_a_wrong_number_of_columns_is_refused_in_the_same_words() -> None:
    forest = _fitted(RandomForestRegressor)
    with pytest.raises(ValueError, match="X has 4 features") as own:
        forest.predict(X[:, :4])
    with pytest.raises(ValueError, match="X has 4 features") as quick:
        quick_calls(forest)["predict"](X[:, :4])
    assert str(quick.value) == str(own.value)


def test_other_models_and_forests_of_several_outputs_keep_their_own_methods() -> None:
    several = RandomForestRegressor(5).fit(X, X[:, :2])
    subclass = type("RandomForestRegressor", (RandomForestRegressor,), {})
    odd = _fitted(subclass)
    isolation = IsolationForest(n_estimators=5).fit(X)
    tree = DecisionTreeClassifier().fit(X, X[:, 0] > 0)
    for model in (several, odd, isolation, tree):
        assert quick_calls(model) == {}


def test_a_forest_with_a_tree_that_is_not_like_the_others_keeps_its_own_methods() -> None:
    narrow = DecisionTreeClassifier().fit(X[:, :3], X[:, 0] > 0)
    fewer = DecisionTreeClassifier().fit(X, np.zeros(len(X)))
    other = ExtraTreeRegressor().fit(X, X[:, 0])
    for tree in (narrow, fewer, other):
        forest = _fitted(RandomForestClassifier)
        forest.estimators_[11] = tree
        assert quick_calls(forest) == {}


@pytest.mark.parametrize("name", ["n_features_in_", "n_outputs_", "n_classes_"])
def test_a_forest_with_a_tree_that_lies_about_its_shape_keeps_its_own_methods(name: str) -> None:
    """Which refuse it, or give what they give."""
    forest = _fitted(RandomForestClassifier)
    setattr(forest.estimators_[11], name, 2)
    assert quick_calls(forest) == {}


def test_a_version_that_nobody_has_looked_at_keeps_its_own_methods(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forest = _fitted(RandomForestRegressor)
    for version in ("1.4.2", "1.10.0", "2.0rc1"):
        monkeypatch.setattr(forests, "installed", lambda _name, found=version: found)
        assert quick_calls(forest) == {}
