"""Fits common estimators and saves them, with their own answers: run by an older scikit-learn.

``python fit_old_models.py FOLDER``: ``NAME.joblib`` or ``NAME.pkl`` each, and ``answers.json`` with
what ``predict`` and ``predict_proba`` gave for the first rows, together and one by one.
"""

from __future__ import annotations

import json
import pickle
import sys
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC


def estimators() -> dict[str, Any]:
    return {
        "logistic": LogisticRegression(max_iter=500),
        "ridge": Ridge(),
        "sgd": SGDClassifier(loss="log_loss", random_state=0),
        "forest": RandomForestClassifier(20, random_state=0),
        "extra": ExtraTreesRegressor(20, random_state=0),
        "boosting": GradientBoostingClassifier(n_estimators=10, random_state=0),
        "histogram": HistGradientBoostingRegressor(max_iter=10, random_state=0),
        "svc": SVC(probability=True, random_state=0),
        "neighbours": KNeighborsClassifier(),
        "bayes": GaussianNB(),
        "mlp": MLPClassifier(max_iter=100, random_state=0),
        "kmeans": KMeans(3, n_init=2, random_state=0),
    }


def columns() -> tuple[Any, pd.DataFrame, Any]:
    """A pipeline over named columns, one of them of words."""
    numbers, labels = load_iris(return_X_y=True)
    frame = pd.DataFrame({"length": numbers[:, 0], "kind": np.where(numbers[:, 1] > 3, "a", "b")})
    by_column = ColumnTransformer(
        [
            ("numbers", StandardScaler(), ["length"]),
            ("words", OneHotEncoder(handle_unknown="ignore"), ["kind"]),
        ]
    )
    return make_pipeline(by_column, LogisticRegression()), frame, labels


def answers(model: Any, rows: Any) -> dict[str, Any]:
    given = {"predict": model.predict(rows).tolist()}
    given["alone"] = [model.predict(rows[i : i + 1]).tolist()[0] for i in range(len(rows))]
    if hasattr(model, "predict_proba"):
        given["predict_proba"] = model.predict_proba(rows).tolist()
    return given


def main(folder: Path) -> None:
    numbers, labels = load_iris(return_X_y=True)
    known: dict[str, Any] = {}
    for number, (name, model) in enumerate(estimators().items()):
        model.fit(numbers, labels)
        if number % 2:
            (folder / f"{name}.pkl").write_bytes(pickle.dumps(model))
        else:
            joblib.dump(model, folder / f"{name}.joblib", compress=3 if number % 4 else 0)
        known[name] = answers(model, numbers[::12])
    model, frame, labels = columns()
    joblib.dump(model.fit(frame, labels), folder / "columns.joblib")
    known["columns"] = answers(model, frame[::12])
    known["rows"] = {"numbers": numbers[::12].tolist(), "frame": frame[::12].to_dict("records")}
    (folder / "answers.json").write_text(json.dumps(known))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]))
