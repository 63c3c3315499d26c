"""The loader of scikit-learn models tells them from other files."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import joblib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joblib.numpy_pickle_compat import NDArrayWrapper
from sklearn.base import BaseEstimator
from sklearn.covariance import EmpiricalCovariance
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.manifold import TSNE
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from loaders.base import LoadError, LoadOptions
from loaders.sklearn.faults import OtherVersion
from loaders.sklearn.joblib import JoblibLoader
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
        ({"model": MODEL, "n": 3}, "a dict with 'model', 'n', not a model: save 'model' by itself"),
        ({"a": 1}, "holds a dict with 'a', not a model$"),
        ({}, "holds a dict with nothing in it, not a model$"),
        (dict.fromkeys("abcdefgh"), "'e', 'f' and 2 more, not a model"),
        ([MODEL, 2], "holds a list of 'LinearRegression', 'int', not a model"),
        ((MODEL,), "holds a tuple of 'LinearRegression', not a model"),
        (np.zeros(3), "holds a ndarray, which has no predict or transform"),
        (None, "holds a NoneType"),
        (
            EmpiricalCovariance().fit(np.eye(3)),
            "an EmpiricalCovariance, which has .*m$",
        ),
        (
            TSNE(perplexity=1).fit(np.eye(3)),
            "a TSNE, which .*: it knows only",
        ),
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
    name = f"{Mine.__module__}:Mine"
    with pytest.raises(LoadError, match=re.escape(f"MMS_ALLOW_GLOBALS={name}")):
        served(own, tmp_path)
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


def test_what_only_the_load_shows_of_versions_counts_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused with both versions by default, one line where the operator lets it pass."""
    from sklearn import __version__

    data = pickle.dumps(make_pipeline(FunctionTransformer(), MODEL))
    data = data.replace(__version__.encode(), b"1.0.0"[: len(__version__)])
    (tmp_path / "m.pkl").write_bytes(data)
    with pytest.raises(LoadError, match=f"scikit-learn 1.0.0, this server has {__version__}"):
        LOADER.load(tmp_path / "m.pkl", LoadOptions())
    with caplog.at_level(logging.WARNING, "mms.loaders"):
        LOADER.load(tmp_path / "m.pkl", LoadOptions(env_match="off"))
        assert not caplog.records
        LOADER.load(tmp_path / "m.pkl", LoadOptions(env_match="warn"))
    (record,) = caplog.records
    assert vars(record)["saved_by"] == "scikit-learn 1.0.0"
    assert vars(record)["installed"] == f"scikit-learn {__version__}"


def _of_another_version(model: object) -> bytes:
    from sklearn import __version__

    return pickle.dumps(model).replace(__version__.encode(), b"0.9.9"[: len(__version__)])


def test_what_fails_between_versions_says_so(tmp_path: Path) -> None:
    """At load or at predict: what is missing, who made the model, and what is here."""
    from sklearn import __version__

    said = f"scikit-learn 0.9.9 made the model, {__version__} is installed here"
    lacking = SimpleImputer().fit(_ROWS)
    del lacking._fill_dtype  # what older versions didn't have
    (tmp_path / "m.pkl").write_bytes(_of_another_version(lacking))
    model = LOADER.load(tmp_path / "m.pkl", LoadOptions(env_match="warn"))
    with pytest.raises(OtherVersion, match=f"no attribute '_fill_dtype'; {said}"):
        answer(model, rows([1.0, 2.0]))
    forest = RandomForestClassifier(2).fit(_ROWS, _ROWS[:, 0] > 0)
    del forest.n_features_in_
    (tmp_path / "m.pkl").write_bytes(_of_another_version(forest))
    with pytest.raises(LoadError, match=f"isn't as scikit-learn makes it; {said}"):
        LOADER.load(tmp_path / "m.pkl", LoadOptions(env_match="warn"))


def test_the_same_version_is_never_blamed(tmp_path: Path) -> None:
    """A model of this version that fails is just a model that fails."""
    lacking = SimpleImputer().fit(_ROWS)
    del lacking._fill_dtype
    with pytest.raises(AttributeError):
        answer(served(lacking, tmp_path), rows([1.0, 2.0]))


def test_names_that_scikit_learn_no_longer_has_are_of_another_version(tmp_path: Path) -> None:
    """Not a matter of trust, so the way out isn't an allow-list."""
    (tmp_path / "m.pkl").write_bytes(b"csklearn.linear_model.base\nLinearRegression\n.")
    with pytest.raises(LoadError, match=r"linear_model\.base:Linear.*another version made"):
        LOADER.load(tmp_path / "m.pkl", LoadOptions())
    for name in (b"csklearn./etc/passwd\nx\n.", b"csklearn.datasets._base\nload_iris\n."):
        (tmp_path / "m.pkl").write_bytes(name)
        with pytest.raises(LoadError, match="MMS_ALLOW_GLOBALS"):
            LOADER.load(tmp_path / "m.pkl", LoadOptions())


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("write", [pickle.dumps, cloudpickle.dumps])
def test_every_protocol_loads(write: Callable[..., bytes], protocol: int, tmp_path: Path) -> None:
    """pickle's or cloudpickle's, which are the same where nothing is the user's own."""
    own = make_pipeline(FunctionTransformer(np.log1p), LinearRegression()).fit(
        _ROWS**2, _ROWS[:, 0]
    )
    (tmp_path / "m.pkl").write_bytes(write(own, protocol))
    model = LOADER.load(tmp_path / "m.pkl", LoadOptions())
    assert answer(model, rows([1.0, 2.0])) == own.predict([[1.0, 2.0]]).tolist()


def test_code_in_a_cloudpickle_needs_the_prefixs_trust(tmp_path: Path) -> None:
    """Allowing one of cloudpickle's names would allow everything, so that isn't advised."""
    own = make_pipeline(FunctionTransformer(lambda rows: rows), LinearRegression())
    (tmp_path / "m.pkl").write_bytes(cloudpickle.dumps(own.fit(_ROWS, _ROWS[:, 0])))
    with pytest.raises(LoadError, match=r"carries code of its own .*set MMS_TRUST=all$"):
        LOADER.load(tmp_path / "m.pkl", LoadOptions())
    assert LOADER.load(tmp_path / "m.pkl", LoadOptions(trusted=True)).methods == ("predict",)


@pytest.mark.parametrize("module", ["joblib.numpy_pickle", "joblib.numpy_pickle_compat"])
def test_arrays_in_files_of_their_own_are_for_joblib_to_save_again(
    module: str, tmp_path: Path
) -> None:
    """joblib before 0.10 wrote one file an array; only where all is trusted they are read."""
    own = LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])
    own.coef_ = NDArrayWrapper("m.pkl_01.npy", np.ndarray)
    data = pickle.dumps(own, 2).replace(b"joblib.numpy_pickle_compat", module.encode())
    (tmp_path / "m.pkl").write_bytes(data)
    with pytest.raises(LoadError, match=r"before 0\.10 did.*save it again with joblib\.dump"):
        LOADER.load(tmp_path / "m.pkl", LoadOptions())
    with pytest.raises(LoadError, match=r"No such file or directory: 'm\.pkl_01\.npy'$"):
        LOADER.load(tmp_path / "m.pkl", LoadOptions(trusted=True))
    np.save(tmp_path / "m.pkl_01.npy", np.ones(1))
    model = LOADER.load(tmp_path / "m.pkl", LoadOptions(trusted=True))
    assert answer(model, rows([0.5])) == pytest.approx([0.5])


def test_compressions_that_are_not_read_say_what_to_do(tmp_path: Path) -> None:
    """lz4, and joblib's own of before 0.10."""
    (tmp_path / "m.joblib").write_bytes(b"\x04\x22\x4d\x18" + bytes(100))
    assert _recognised(tmp_path / "m.joblib")
    with pytest.raises(LoadError, match=r"lz4, .*joblib\.dump\(model, path, compress=3\)"):
        LOADER.load(tmp_path / "m.joblib", LoadOptions())
    assert "before 0.10 (save it again" in describe(b"ZF0x100              x")


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


@pytest.mark.parametrize(
    ("module", "name", "way"),
    [
        ("xgboost.sklearn", "XGBClassifier", r"model\.save_model\('model\.ubj'\)"),
        ("lightgbm.sklearn", "LGBMRegressor", r"model\.booster_\.save_model\('model\.txt'\)"),
        ("catboost.core", "CatBoostClassifier", r"model\.save_model\('model\.cbm'\)"),
    ],
)
def test_a_pickle_of_another_frameworks_estimator_says_how_to_save_it(
    module: str, name: str, way: str, tmp_path: Path
) -> None:
    """Its own file needs no trust; where the prefix is trusted, the pickle is served as it is."""
    kind = getattr(importlib.import_module(module), name)
    quiet: dict[str, Any] = {"verbose": -1} if "lightgbm" in module else {"verbosity": 0}
    if "catboost" in module:
        quiet = {"verbose": 0, "allow_writing_files": False}
    rows_of, labels = np.arange(80.0).reshape(40, 2), np.arange(40) % 2
    own = kind(n_estimators=3, **quiet).fit(rows_of, labels)
    joblib.dump(own, tmp_path / "m.joblib")
    with pytest.raises(LoadError, match=f"asks for '{module}:{name}'.*by itself, with {way}"):
        JoblibLoader().load(tmp_path / "m.joblib", LoadOptions())
    model = JoblibLoader().load(tmp_path / "m.joblib", LoadOptions(trusted=True))
    assert answer(model, rows(*rows_of.tolist())) == own.predict(rows_of).tolist()
