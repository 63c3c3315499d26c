"""Native code that trusts what it is given: no pickle brings it to read or write beside arrays."""

from __future__ import annotations

import copyreg
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.cluster import BisectingKMeans, KMeans
from sklearn.cluster._kmeans import _kmeans_single_lloyd
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression
from sklearn.metrics import _dist_metrics
from sklearn.neighbors import BallTree, KDTree, KNeighborsRegressor, _ball_tree, _kd_tree
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVR
from sklearn.tree import DecisionTreeRegressor
from sklearn.tree._tree import Tree
from sklearn.utils import Bunch

from loaders.base import LoadError
from loaders.pickles.unpickle import load_restricted
from tests.loaders.pickles.assemble import call, done, name, table, text, value
from tests.loaders.support import answer, rows, served

_RNG = np.random.default_rng(0)
X = _RNG.random((60, 4))
Y = np.arange(60) % 3


class _Call:
    """Pickles as a call and a state of the test's own choice."""

    def __init__(self, function: Any, args: tuple[Any, ...], *state: Any) -> None:
        self._reduced = (function, args, *state)

    def __reduce__(self) -> Any:
        return self._reduced


def _new(module: Any, cls: Any, *state: Any) -> _Call:
    return _Call(module.newObj, (cls,), *state)


def _ball_tree_with(metric: Any, width: int = 4) -> _Call:
    state = list(BallTree(X[:, :width].copy()).__getstate__())
    state[11] = metric
    return _new(_ball_tree, BallTree, tuple(state))


def _set(model: Any, **values: Any) -> Any:
    for key, item in values.items():
        setattr(model, key, item)
    return model


def _random_state(place: int) -> Any:
    state = np.random.RandomState(0).get_state(legacy=False)
    assert isinstance(state, dict)
    state["state"]["pos"] = place
    make = vars(np.random._pickle)["__randomstate_ctor"]
    return _set(
        DummyClassifier(strategy="stratified").fit(X, Y), random_state=_Call(make, (), state)
    )


def _twister(place: int) -> Any:
    state = np.random.MT19937(0).state
    state["state"]["pos"] = place
    return _Call(
        vars(np.random._pickle)["__bit_generator_ctor"], (np.random.MT19937,), (state, None)
    )


def _mahalanobis() -> Any:
    cls = _dist_metrics.MahalanobisDistance64
    return _ball_tree_with(_new(_dist_metrics, cls, (2.0, np.zeros(1), np.ones((4, 1)))))


def _bisected() -> Any:
    model = BisectingKMeans(3, random_state=0).fit(X)
    model._bisecting_tree.left.center = np.zeros(1)
    return model


def _init_that_drops_rows() -> Any:
    mean = FunctionTransformer(np.mean, kw_args={"axis": 0, "keepdims": True})
    init = make_pipeline(mean, LinearRegression().fit(X, Y))
    return _set(GradientBoostingRegressor(n_estimators=2).fit(X, Y), init_=init)


def _boosted_bunch() -> Any:
    model = GradientBoostingRegressor(n_estimators=1).fit(X, Y)
    wide = DecisionTreeRegressor().fit(np.hstack([X] * 9), Y)
    model.estimators_[0, 0] = Bunch(tree_=wide.tree_)
    return model


def _frozen_in_forest() -> Any:
    model = RandomForestRegressor(2).fit(X, Y)
    model.estimators_[1] = FrozenEstimator(DecisionTreeRegressor().fit(X, Y))
    return model


def _preprocessed(*steps: Any) -> Any:
    model = HistGradientBoostingRegressor(max_iter=2, categorical_features=[3])
    model.fit(np.c_[X[:, :3], Y], Y)
    model._preprocessor = ColumnTransformer(list(steps)).fit(X)
    return model


def _vectors() -> Any:
    model = SVR().fit(X, Y)
    counts = np.zeros(3000, np.int32)
    counts[0] = len(model.support_)
    return _set(model, _impl="c_svc", _n_support=counts)


def _no_width() -> Any:
    model = KMeans(2, n_init=1).fit(X)
    del model.n_features_in_
    return model


_SUM = FunctionTransformer(np.sum, kw_args={"axis": 1, "keepdims": True})

HOSTILE: dict[str, Callable[[], Any]] = {
    "a random state that reads on": lambda: _random_state(100_000),
    "a random state that reads before": lambda: _random_state(-5),
    "a twister that reads on": lambda: _twister(625),
    "a KD tree of nothing": lambda: _new(_kd_tree, KDTree),
    "a decision tree of nothing": lambda: _Call(Tree, (4, np.array([1]), 1)),
    "a distance of nothing": lambda: _ball_tree_with(
        _new(_dist_metrics, _dist_metrics.MinkowskiDistance64)
    ),
    "a distance of another width": lambda: _ball_tree_with(
        _new(
            _dist_metrics,
            _dist_metrics.SEuclideanDistance64,
            (2.0, np.ones(1), np.zeros((1, 1))),
        )
    ),
    "a distance that isn't square": _mahalanobis,
    "k-means without a width": _no_width,
    "bisecting k-means of another width": _bisected,
    "neighbours of another width": lambda: _set(
        KNeighborsRegressor(algorithm="brute").fit(X, Y), n_features_in_=5000
    ),
    "boosting from a row fewer": _init_that_drops_rows,
    "boosting of what only looks like trees": _boosted_bunch,
    "a forest of what only wraps trees": _frozen_in_forest,
    "histogram boosting of dropped columns": lambda: _preprocessed(
        ("a", "drop", [0, 1, 2]), ("b", "passthrough", [3])
    ),
    "histogram boosting of a sum": lambda: _preprocessed(("a", _SUM, [0, 1, 2, 3])),
    "a regressor that says it classifies": _vectors,
}


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
def test_what_would_leave_an_array_is_refused(make: Callable[[], Any], tmp_path: Path) -> None:
    """Each of these read or wrote beside an array, or crashed the worker, at predict."""
    with pytest.raises(LoadError, match=r"no library writes|isn't as scikit-|does not match"):
        served(make(), tmp_path)


def test_training_code_is_never_called(tmp_path: Path) -> None:
    """K-means' training code writes wherever its arguments say; a transformer can't call it."""
    wild = {"sample_weight": np.ones(3), "centers_init": np.zeros((3, 1)), "n_threads": 1}
    model = FunctionTransformer(_kmeans_single_lloyd, kw_args=wild).fit(X)
    with pytest.raises(LoadError, match="only training may call"):
        answer(served(model, tmp_path), rows([0.0] * 4))


def test_what_training_used_of_threads_is_forgotten(tmp_path: Path) -> None:
    """K-means would ask for as many threads as its file says, and end the process if it can't."""
    model = _set(KMeans(2, n_init=1, random_state=0).fit(X), _n_threads=-5)
    expected = KMeans(2, n_init=1, random_state=0).fit(X).predict(np.tile(X, (20, 1))).tolist()
    loaded = served(model, tmp_path)
    outputs = loaded.run("predict", loaded.prepare(rows(*np.tile(X, (20, 1)).tolist())))
    assert outputs.arrays["predict"].tolist() == expected


def _range() -> bytes:
    index = name("pandas.core.indexes.base:_new_Index")
    ends = table(start=value(0), stop=value(1 << 20), step=value(1))
    return call(index, name("pandas:RangeIndex"), ends)


def _repeated() -> bytes:
    """A text of a megabyte by reference, and 4,000 calls that copy it."""
    known = text("é" * (1 << 20)) + b"\x940" + name("_codecs:encode") + b"\x940"
    return known + text("latin1") + b"\x940](" + b"h\x01h\x00h\x02\x86R" * 4000 + b"e"


BOMBS: dict[str, Callable[[], bytes]] = {
    "a set of a range": lambda: call(name("builtins:set"), _range()),
    "a frozenset of a range": lambda: call(name("builtins:frozenset"), _range()),
    "a list of a range": lambda: call(
        name("copyreg:_reconstructor"), name("builtins:list"), name("builtins:list"), _range()
    ),
    "an endless range": lambda: _range().replace(value(1 << 20), value(1 << 40)),
    "a text copied again and again": _repeated,
}


@pytest.mark.parametrize("make", BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_refused(make: Callable[[], bytes], tmp_path: Path) -> None:
    """A few bytes that would take gigabytes are refused before they do."""
    file = tmp_path / "model.pkl"
    file.write_bytes(done(make()))
    with pytest.raises(LoadError, match=r"no library writes|far more than its size"):
        load_restricted(file)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_honest_natives_are_let_through(protocol: int, tmp_path: Path) -> None:
    """Generators, sets, distances and trees arrive as the full unpickler brings them."""
    file = tmp_path / "model.pkl"
    weighed = BallTree(X, metric="mahalanobis", V=np.eye(4))
    draws: list[Any] = [np.random.RandomState(1), np.random.default_rng(1), np.random.MT19937(1)]
    things = [weighed, KDTree(X), {1, 2}, frozenset({3}), *draws]
    file.write_bytes(pickle.dumps(things, protocol))
    made, _ = load_restricted(file)
    assert made[2:4] == [{1, 2}, frozenset({3})]
    assert made[4].rand() == draws[0].rand()
    assert made[0].query(X[:3])[1].tolist() == weighed.query(X[:3])[1].tolist()


def test_attributes_come_as_a_plain_table(tmp_path: Path) -> None:
    """A state that only acts like a dict can't shadow a method either."""
    model = LinearRegression().fit(X, Y)
    state = Bunch(**model.__getstate__(), _validate_data=np.exp, predict=np.exp)
    made = _Call(vars(copyreg)["_reconstructor"], (LinearRegression, object, None), state)
    with pytest.raises(LoadError, match="sets 'predict'"):
        served(made, tmp_path)
