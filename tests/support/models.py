"""Small real models whose answers tell which model they are, and artifacts made of them."""

from __future__ import annotations

import io
from typing import Any

import joblib
import numpy as np
from sklearn.datasets import load_iris
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LogisticRegression

from tests.support.s3 import tar_of

ROW = [[5.1, 3.5, 1.4, 0.2]]


def dumped(model: object, *, compress: int = 0) -> bytes:
    """A model as joblib writes it."""
    out = io.BytesIO()
    joblib.dump(model, out, compress=compress)
    return out.getvalue()


def constant(value: float) -> Any:
    """A model of four features that answers ``value`` to every row."""
    return DummyRegressor(strategy="constant", constant=value).fit(np.zeros((2, 4)), [0.0, 1.0])


def constant_archive(value: float) -> bytes:
    return tar_of({"model.joblib": dumped(constant(value))})


def iris() -> LogisticRegression:
    rows, labels = load_iris(return_X_y=True)
    return LogisticRegression(max_iter=500).fit(rows, labels)


def weighty(value: float, nbytes: int) -> Any:
    """A constant model that takes about ``nbytes`` of memory: a nearest-neighbours one."""
    from sklearn.neighbors import KNeighborsRegressor

    rows = np.random.default_rng(int(value)).normal(size=(max(1, nbytes // 32), 4))
    labels = np.full(len(rows), value)
    return KNeighborsRegressor(n_neighbors=1, algorithm="brute").fit(rows, labels)
