"""The demo's models: a catalogue as a user would have it, one model per place and purpose.

Owns which estimator is trained on which data, in which format it is kept and how it is asked.
Everything here is small enough for all of it to be trained in seconds; nothing is tuned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler
from sklearn.svm import SVC

if TYPE_CHECKING:
    from collections.abc import Callable

Ask = Literal["rows", "objects", "csv", "tensors"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One model: what it learns from, what becomes of it and how it is asked."""

    target: str
    data: str
    build: Callable[[], Any]
    ask: Ask = "rows"
    method: str = "predict"
    onnx: bool = False
    exact: bool = False  # trees and labels: the same bits, whatever else was in the batch


def _mixed(answer: Any, *, words: list[str], numbers: list[str]) -> Any:
    """A pipeline that finds its columns by name and encodes those that hold words."""
    columns = ColumnTransformer(
        [
            ("words", OneHotEncoder(handle_unknown="ignore"), words),
            ("numbers", StandardScaler(), numbers),
        ]
    )
    return make_pipeline(columns, answer)


def _wine_list() -> Any:
    return _mixed(
        LogisticRegression(max_iter=500),
        words=["colour", "hue"],
        numbers=["alcohol", "malic_acid", "proline"],
    )


def _patients() -> Any:
    return _mixed(
        GradientBoostingRegressor(random_state=0),
        words=["age", "weight"],
        numbers=["bp", "s3", "s5"],
    )


def _forest() -> Any:
    return RandomForestClassifier(100, random_state=0)


RECIPES = (
    Recipe(
        target="us/ny/iris-logistic.tar.gz",
        data="iris",
        build=lambda: LogisticRegression(max_iter=500),
        exact=True,
    ),
    Recipe(
        target="us/ny/buffalo/wine-forest.tar.gz",
        data="wine columns",
        build=_forest,
        ask="objects",
        exact=True,
    ),
    Recipe(
        target="us/ca/fresno/cancer-boosting.joblib",
        data="breast cancer",
        build=lambda: GradientBoostingClassifier(random_state=0),
        ask="csv",
        method="predict_proba",
        exact=True,
    ),
    Recipe(
        target="us/ca/los-angeles/digits-svc.tar.gz",
        data="digits",
        build=lambda: SVC(gamma=0.001),
        exact=True,
    ),
    Recipe(
        target="us/tx/austin/diabetes-ridge.pkl",
        data="diabetes",
        build=lambda: Ridge(alpha=0.1),
    ),
    Recipe(
        target="us/tx/dallas/diabetes-linear.joblib",
        data="diabetes",
        build=LinearRegression,
        ask="csv",
    ),
    Recipe(
        target="jp/tokyo/wine-list.tar.gz",
        data="wine list",
        build=_wine_list,
        ask="objects",
        exact=True,
    ),
    Recipe(
        target="jp/tokyo/shibuya/digits-knn.tgz",
        data="digits",
        build=lambda: make_pipeline(MinMaxScaler(), KNeighborsClassifier(3)),
        exact=True,
    ),
    Recipe(
        target="jp/osaka/patients-boosting.tar.gz",
        data="patients",
        build=_patients,
        ask="csv",
        exact=True,
    ),
    Recipe(
        target="de/berlin/digits-network.joblib",
        data="digits",
        build=lambda: make_pipeline(MinMaxScaler(), MLPClassifier((32,), tol=1e-3, random_state=0)),
        method="predict_proba",
    ),
    Recipe(
        target="de/berlin/mitte/iris-forest.onnx",
        data="iris numbers",
        build=_forest,
        ask="tensors",
        onnx=True,
    ),
    Recipe(
        target="de/munich/cancer-logistic.tar.gz",
        data="breast cancer",
        build=lambda: make_pipeline(StandardScaler(), LogisticRegression()),
        ask="tensors",
        onnx=True,
    ),
    Recipe(
        target="fr/paris/diabetes-boosting.onnx",
        data="diabetes",
        build=lambda: GradientBoostingRegressor(random_state=0),
        onnx=True,
    ),
    Recipe(
        target="gb/london/wine-components.joblib",
        data="wine",
        build=lambda: make_pipeline(StandardScaler(), PCA(5), LogisticRegression()),
        method="predict_proba",
    ),
    Recipe(
        target="br/sao-paulo/iris-histogram.tar",
        data="iris",
        build=lambda: HistGradientBoostingClassifier(max_iter=30, random_state=0),
        method="predict_proba",
        exact=True,
    ),
    Recipe(
        target="in/mumbai/wine-trees.tar.gz",
        data="wine",
        build=lambda: ExtraTreesClassifier(100, random_state=0),
        ask="csv",
        exact=True,
    ),
)
