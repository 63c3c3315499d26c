"""What an unpickled model may hold: nothing that writes, reads files, or leaves its arrays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.cluster import KMeans
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, SplineTransformer, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from loaders.base import LoadError
from tests.loaders.support import served

_RNG = np.random.default_rng(0)
X = _RNG.normal(size=(60, 4))
Y = np.arange(60) % 3


def _pipeline() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)


def _set(model: Any, **values: Any) -> Any:
    for name, value in values.items():
        setattr(model, name, value)
    return model


@pytest.mark.parametrize("memory", ["/tmp/cache", joblib.Memory(None)])
def test_a_cache_on_disk_is_refused(memory: Any, tmp_path: Path) -> None:
    """``memory=`` would write to disk, or brings joblib.Memory."""
    with pytest.raises(LoadError, match="memory"):
        served(_set(_pipeline(), memory=memory), tmp_path)


@pytest.mark.parametrize("cls", [CountVectorizer, TfidfVectorizer, HashingVectorizer])
@pytest.mark.parametrize("way", ["file", "filename"])
def test_reading_files_named_in_requests_is_refused(cls: Any, way: str, tmp_path: Path) -> None:
    """``input="filename"`` would let a client read files, at any depth of the model."""
    model = make_pipeline(cls(), LogisticRegression()).fit(["aa bb", "bb cc", "cc"], [0, 1, 1])
    model.steps[0][1].input = way
    with pytest.raises(LoadError, match="would read files"):
        served(model, tmp_path)


def test_writing_into_the_model_is_refused(tmp_path: Path) -> None:
    """``out=`` would let a request write into an array that native code trusts."""
    model = make_pipeline(FunctionTransformer(np.exp), LogisticRegression()).fit(X, Y)
    model.steps[0][1].kw_args = {"out": np.zeros((60, 4))}
    with pytest.raises(LoadError, match="out="):
        served(model, tmp_path)


def _forest(model: Any) -> Any:
    model.estimators_[1] = DecisionTreeClassifier().fit(np.hstack([X, X]), Y)
    return model


def _boosting_of_more_classes(model: Any) -> Any:
    model.estimators_ = np.hstack([model.estimators_, model.estimators_])
    return model


def _histogram(field: str, value: int) -> Callable[[Any], Any]:
    def damage(model: Any) -> Any:
        model._predictors[0][0].nodes[field][0] = value
        return model

    return damage


def _isolation(model: Any) -> Any:
    model.estimators_features_[0] = np.arange(2)
    return model


def _without(model: Any, name: str) -> Any:
    delattr(model, name)
    return model


def _sparse() -> Any:
    model = KNeighborsClassifier(algorithm="brute").fit(csr_matrix(np.abs(X)), Y)
    model._fit_X.indices[0] = 10_000
    return model


def _spline() -> Any:
    model = SplineTransformer().fit(X)
    model.bsplines_[0].__dict__["_c"] = np.zeros((1, 1))
    return model


DAMAGED: dict[str, Callable[[], Any]] = {
    "a tree of other features": lambda: _set(
        DecisionTreeClassifier().fit(X, Y), n_features_in_=9
    ),
    "a tree without features": lambda: _without(
        DecisionTreeClassifier().fit(X, Y), "n_features_in_"
    ),
    "a forest with a foreign tree": lambda: _forest(RandomForestClassifier(5).fit(X, Y)),
    "a forest of other features": lambda: _set(
        RandomForestClassifier(5).fit(X, Y), n_features_in_=2
    ),
    "boosting of other classes": lambda: _boosting_of_more_classes(
        GradientBoostingClassifier(n_estimators=3).fit(X, Y)
    ),
    "boosting without its init": lambda: _set(
        GradientBoostingClassifier(n_estimators=3).fit(X, Y), init_=None
    ),
    "histogram boosting beyond its nodes": lambda: _histogram("left", 1000)(
        HistGradientBoostingRegressor(max_iter=2, min_samples_leaf=2).fit(X, Y)
    ),
    "histogram boosting that circles": lambda: _histogram("right", 0)(
        HistGradientBoostingRegressor(max_iter=2, min_samples_leaf=2).fit(X, Y)
    ),
    "histogram boosting beyond its features": lambda: _histogram("feature_idx", 50)(
        HistGradientBoostingRegressor(max_iter=2, min_samples_leaf=2).fit(X, Y)
    ),
    "histogram boosting of a false category": lambda: _histogram("is_categorical", 1)(
        HistGradientBoostingRegressor(max_iter=2, min_samples_leaf=2).fit(X, Y)
    ),
    "histogram boosting in training": lambda: _set(
        HistGradientBoostingRegressor(max_iter=2).fit(X, Y), _in_fit=True
    ),
    "isolation trees of other features": lambda: _isolation(IsolationForest(n_estimators=5).fit(X)),
    "support vectors that are missing": lambda: _set(
        SVC().fit(X, Y), support_vectors_=np.zeros((2, 4))
    ),
    "support counts beyond the vectors": lambda: _set(
        SVC().fit(X, Y), _n_support=np.array([1000, 1000, 1000], np.int32)
    ),
    "sparse support vectors of too few coefficients": lambda: _set(
        SVC().fit(csr_matrix(X), Y), _dual_coef_=csr_matrix((2, len(SVC().fit(X, Y).support_)))
    ),
    "a distance of fewer features": lambda: _set(
        KNeighborsClassifier(
            algorithm="brute", metric="mahalanobis", metric_params={"VI": np.eye(4)}
        ).fit(X, Y),
        effective_metric_params_={"VI": np.eye(1)},
    ),
    "centers of other features": lambda: _set(
        KMeans(2, n_init=1).fit(X), cluster_centers_=np.zeros((2, 1))
    ),
    "a sparse matrix beyond its columns": _sparse,
    "a spline of too few coefficients": _spline,
}  # fmt: skip


@pytest.mark.parametrize("make", DAMAGED.values(), ids=DAMAGED)
def test_sizes_that_native_code_trusts_are_checked(make: Callable[[], Any], tmp_path: Path) -> None:
    """What would read or write beside an array is refused at load."""
    with pytest.raises(LoadError):
        served(make(), tmp_path)


def test_the_same_models_are_served_undamaged(tmp_path: Path) -> None:
    """The checks refuse the damage, not the models."""
    for model in (
        RandomForestClassifier(5),
        GradientBoostingClassifier(n_estimators=3),
        HistGradientBoostingRegressor(max_iter=2, min_samples_leaf=2),
        HistGradientBoostingRegressor(max_iter=2, categorical_features=[3]),
        IsolationForest(n_estimators=5, max_features=2),
        SVC(),
        SVC(kernel="linear"),
        KMeans(2, n_init=1),
        KNeighborsClassifier(algorithm="kd_tree"),
        KNeighborsClassifier(algorithm="ball_tree", metric="manhattan"),
        KNeighborsClassifier(
            algorithm="brute", metric="mahalanobis", metric_params={"VI": np.eye(4)}
        ),
        SplineTransformer(),
    ):
        data = np.c_[X[:, :3], Y]
        model.fit(data, Y)
        assert served(model, tmp_path).methods
    for kernel in ("rbf", "linear"):
        assert served(SVC(kernel=kernel).fit(csr_matrix(X), Y), tmp_path).methods
