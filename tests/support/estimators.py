"""Every estimator of scikit-learn, fitted, and rows that it can answer for.

The zoo of the allow-list's generator, with what a caller of each would send. Owns no expectation:
the tests say what must be served.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
from sklearn.decomposition import SparseCoder
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression

from loaders.pickles.generate_allowlist import fitted, samples
from loaders.sklearn.estimator import METHODS

_WORDS: Final = samples()[5][0]
_ROWS: Final[dict[str, Any]] = {  # stateless: they were "fitted" on numbers
    "HashingVectorizer": _WORDS,
    "FeatureHasher": [{"a": 1, "b": 2.5}, {"c": "x"}, {"a": -1}] * 4,
    "MultiLabelBinarizer": [["a"], ["b", "a"], [], ["b"]] * 3,
}


class Case(NamedTuple):
    """A fitted estimator under its name in the bucket."""

    name: str
    estimator: Any
    rows: Any  # as its methods take them

    @property
    def kind(self) -> str:
        return type(self.estimator).__name__

    @property
    def methods(self) -> list[str]:
        return [name for name in METHODS if callable(getattr(self.estimator, name, None))]


@cache
def cases() -> list[Case]:
    """One or more of every class that scikit-learn has."""
    counts: dict[str, int] = defaultdict(int)
    found = []
    for estimator, data in _fitted():
        kind = type(estimator).__name__
        counts[kind] += 1
        found.append(Case(f"{kind}-{counts[kind]}.joblib", _settled(estimator), data))
    return found


def _fitted() -> Iterator[tuple[Any, Any]]:
    for estimator, data in fitted():
        if data is not None:
            yield estimator, _ROWS.get(type(estimator).__name__, data[0])
    rows = samples()[0][0]
    yield SparseCoder(np.eye(rows.shape[1])).fit(rows), rows
    yield FrozenEstimator(LinearRegression().fit(rows, rows[:, 0])), rows


def _settled(estimator: Any) -> Any:
    """With a seed where the answer itself is drawn, so that it can be compared."""
    if getattr(estimator, "random_state", 0) is None:
        estimator.random_state = 0
    return estimator


def as_json(rows: Any) -> list[Any]:
    """The rows as a client sends them."""
    return rows.tolist() if isinstance(rows, np.ndarray) else list(rows)
