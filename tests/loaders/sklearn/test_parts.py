"""What may be batched is what answers the same in a batch: tried on all of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelEncoder

from loaders.base import InputError, LoadError, LoadOptions, Model
from loaders.pickles.generate_allowlist import fitted
from loaders.sklearn.estimator import EstimatorModel
from loaders.sklearn.parts import is_row_wise, parts
from tests.loaders.support import rows

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # scikit-learn's advice on tiny data
    pytest.mark.timeout(300),  # all of scikit-learn, on a machine that may be busy
]


def _close(together: Any, alone: Any) -> bool:
    if together.shape != alone.shape:
        return False
    if together.dtype.kind == "f":
        return np.allclose(together, alone, rtol=1e-9, atol=1e-12, equal_nan=True)
    return bool(np.all(together == alone))


def _answers(model: Model, method: str, values: list[Any]) -> dict[str, Any]:
    return model.run(method, model.prepare(rows(*values))).arrays


def _is_row_wise(model: Model, method: str, values: list[Any]) -> bool:
    together = _answers(model, method, values)
    alone = [_answers(model, method, [value]) for value in values]
    return all(
        _close(array, np.concatenate([one[name] for one in alone]))
        for name, array in together.items()
    )


def test_whatever_is_batched_answers_the_same_in_a_batch() -> None:
    """f([a, b]) is f(a), f(b), for every method of every estimator that may be batched."""
    tried = set()
    for estimator, data in fitted():
        name = type(estimator).__name__
        if data is None or not is_row_wise(estimator):
            continue
        try:
            model = EstimatorModel(estimator, LoadOptions())
        except LoadError:
            continue  # it can't answer for new rows at all
        values = [r.tolist() if isinstance(r, np.ndarray) else r for r in data[0]]
        for method in model.methods:
            for chosen in (values[:2], values[::-9]):
                try:
                    assert _is_row_wise(model, method, chosen), (name, method)
                except InputError:
                    continue  # fitted on something else than it answers for
                tried.add(name)
    assert len(tried) > 150


def test_random_answers_and_labels_alone_arent_batched() -> None:
    """A dummy that rolls dice, and an encoder that isn't inside a classifier."""
    assert is_row_wise(DummyClassifier().fit([[0]], [0]))
    assert not is_row_wise(DummyClassifier(strategy="uniform").fit([[0]], [0]))
    assert not is_row_wise(LabelEncoder().fit([1, 2]))


def test_every_part_is_found_once() -> None:
    """In attributes, lists, dicts and arrays of objects, circles too."""
    inner = LinearRegression()
    outer = make_pipeline(inner)
    inner.extra_ = {"a": [np.array([None, outer, inner], dtype=object)], "f": np.mean}
    assert sorted(map(id, parts(outer))) == sorted(map(id, (outer, inner, np.mean)))
    assert not is_row_wise(outer)
