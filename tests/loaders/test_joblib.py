"""The loader of scikit-learn models tells them from other files."""

from __future__ import annotations

import contextlib
import io
import logging
import pickle
from pathlib import Path

import joblib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from loaders.base import LoadError, LoadOptions
from loaders.joblib import JoblibLoader
from loaders.sniff import HEAD_BYTES, describe
from tests.loaders.support import answer, rows, served

LOADER = JoblibLoader()
MODEL = LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])


def _recognised(path: Path) -> bool:
    return LOADER.recognises(path, path.read_bytes()[:HEAD_BYTES])


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)])
@pytest.mark.parametrize("name", ["model.joblib", "model", "model.bin"])
def test_pickles_are_known_by_their_content(
    compress: int | tuple[str, int], name: str, tmp_path: Path
) -> None:
    """Compressed or not, under any name."""
    joblib.dump(MODEL, tmp_path / name, compress=compress)
    assert _recognised(tmp_path / name)
    assert "pickle" in describe((tmp_path / name).read_bytes()[:HEAD_BYTES])


def test_a_large_bz2_is_known_by_its_name(tmp_path: Path) -> None:
    """bz2 shows nothing of its content in its first bytes."""
    noise = np.random.default_rng(0).normal(size=(20_000, 2))
    model = KNeighborsRegressor().fit(noise, noise[:, 0])
    joblib.dump(model, tmp_path / "m.joblib", compress=("bz2", 1))
    assert _recognised(tmp_path / "m.joblib")
    assert LOADER.load(tmp_path / "m.joblib", LoadOptions()).methods == ("predict",)


def test_old_protocols_need_the_name(tmp_path: Path) -> None:
    """Protocol 0 looks like text, so only a pickle's name makes it one."""
    for name, expected in (("m.pkl", True), ("m.txt", False)):
        (tmp_path / name).write_bytes(pickle.dumps(MODEL, 0))
        assert _recognised(tmp_path / name) is expected


@pytest.mark.parametrize(
    "content", [b"", b"x", b"\x80", b"\x80\x09abc", b"<html>", b"PK\x03\x04", b"\x08\x07\x12\x03"]
)
def test_other_files_are_no_pickles(content: bytes, tmp_path: Path) -> None:
    """Whatever they are called."""
    assert not LOADER.recognises(tmp_path / "model.joblib", content)


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        ({"model": MODEL}, "holds a dict, which has no predict or transform"),
        ([1, 2], "holds a list"),
        (None, "holds a NoneType"),
        (LogisticRegression, "holds the class LogisticRegression, not a fitted model"),
        (LogisticRegression(), "the LogisticRegression isn't fitted"),
    ],
)
def test_what_isnt_a_fitted_estimator_is_refused(
    thing: object, message: str, tmp_path: Path
) -> None:
    """A dict of models, a class, an unfitted estimator: each is called what it is."""
    with pytest.raises(LoadError, match=message):
        served(thing, tmp_path)


def test_a_model_without_state_is_fitted(tmp_path: Path) -> None:
    """Stateless transformers need no fit."""
    assert served(FunctionTransformer(), tmp_path).methods == ("transform",)


class Mine(BaseEstimator):  # type: ignore[misc]
    """A class that isn't on any list."""

    def fit(self, rows: object) -> Mine:
        self.fitted_ = rows
        return self

    def predict(self, rows: object) -> object:
        return rows


def test_own_classes_need_trust(tmp_path: Path) -> None:
    """Refused by name; loaded where the name, or the prefix, is trusted."""
    own = Mine().fit(1)
    with pytest.raises(LoadError, match=r"MMS_ALLOW_GLOBALS=tests\.loaders\.test_joblib:Mine"):
        served(own, tmp_path)
    name = f"{Mine.__module__}:Mine"
    assert served(own, tmp_path, allow_globals=frozenset({name})).methods == ("predict",)
    assert not served(own, tmp_path, trusted=True).batchable


def test_a_broken_pickle_is_one_line(tmp_path: Path) -> None:
    """Trusted or not, corruption is a load error without a path or a traceback."""
    (tmp_path / "m.joblib").write_bytes(b"\x80\x04garbage")
    for trusted in (False, True):
        with pytest.raises(LoadError) as caught:
            LOADER.load(tmp_path / "m.joblib", LoadOptions(trusted=trusted))
        assert "\n" not in str(caught.value)
        assert str(tmp_path) not in str(caught.value)


def test_another_version_of_scikit_learn_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A model of an older library loads, with one line that has both versions."""
    from sklearn import __version__

    data = pickle.dumps(make_pipeline(FunctionTransformer(), MODEL))
    data = data.replace(__version__.encode(), b"1.0.0"[: len(__version__)])
    (tmp_path / "m.pkl").write_bytes(data)
    with caplog.at_level(logging.WARNING, "mms.loaders"):
        LOADER.load(tmp_path / "m.pkl", LoadOptions())
    (record,) = caplog.records
    assert vars(record)["made_by"] == "1.0.0"
    assert vars(record)["installed"] == __version__


@given(st.integers(0, 2), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@pytest.mark.filterwarnings("ignore")
def test_damaged_models_load_or_are_refused(
    tmp_path: Path, which: int, damage: list[tuple[float, int]]
) -> None:
    """Flipped bytes make a LoadError, or a model that answers or raises, and never a crash."""
    data = bytearray(DAMAGEABLE[which])
    for place, value in damage:
        data[int(place * (len(data) - 1))] = value
    (tmp_path / "m.joblib").write_bytes(data)
    try:
        model = LOADER.load(tmp_path / "m.joblib", LoadOptions())
    except (LoadError, MemoryError):
        return
    with contextlib.suppress(Exception):
        answer(model, rows([0.5, 0.5]))


def _dumped(model: object) -> bytes:
    out = io.BytesIO()
    joblib.dump(model, out)
    return out.getvalue()


_ROWS = np.random.default_rng(0).normal(size=(20, 2))
DAMAGEABLE = [
    _dumped(RandomForestClassifier(2).fit(_ROWS, _ROWS[:, 0] > 0)),
    _dumped(HistGradientBoostingRegressor(max_iter=2, min_samples_leaf=2).fit(_ROWS, _ROWS[:, 0])),
    _dumped(KNeighborsRegressor(algorithm="kd_tree").fit(_ROWS, _ROWS[:, 0])),
]
