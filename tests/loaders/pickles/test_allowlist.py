"""The allow-list is what the installed scikit-learn needs, and no more than harmless."""

from __future__ import annotations

import importlib
import pickle
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.utils import all_estimators

from loaders.base import LoadError
from loaders.pickles import allowlist, allowlist_data
from loaders.pickles.generate_allowlist import fitted, render, trace
from loaders.pickles.reconstruct import GUARDED
from loaders.pickles.unpickle import load_restricted
from loaders.sklearn.checks import check_built

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # scikit-learn's advice on tiny data
    pytest.mark.timeout(300),  # all of scikit-learn, on a machine that may be busy
]


def test_the_list_is_what_the_generator_writes() -> None:
    """The committed names are those of the installed versions."""
    assert Path(allowlist_data.__file__).read_text(encoding="utf-8") == render(trace())


def test_no_name_is_dangerous() -> None:
    """No name leads to code, files or further names, and none stands in for a guarded one."""
    roots = {"builtins", "collections", "numpy", "pandas", "scipy", "sklearn"}
    builtins = {n.partition(":")[2] for n in allowlist.KINDS if n.startswith("builtins:")}
    harmless = "bool complex dict float int list object slice str tuple"
    assert builtins == set(harmless.split())
    for full, kinds in allowlist.KINDS.items():
        module, _, name = full.partition(":")
        assert module.partition(".")[0] in roots
        assert not module.startswith(("scipy.io", "scipy.stats", "pandas.io", "sklearn.datasets"))
        assert "callback" not in module
        assert "." not in name
        assert full not in GUARDED
        found = getattr(importlib.import_module(module), name)
        assert not hasattr(found, "__del__")
        if "new" in kinds:
            assert isinstance(found, type)


def test_every_estimator_is_on_it() -> None:
    """Every public estimator of scikit-learn may be made."""
    for _, cls in all_estimators():
        assert "new" in allowlist.KINDS[f"{cls.__module__}:{cls.__name__}"]


def _save(model: Any, way: str, path: Path) -> bool:
    try:
        if way == "joblib":
            joblib.dump(model, path)
        elif way in {"zlib", "gzip"}:
            joblib.dump(model, path, compress=(way, 3))
        else:
            path.write_bytes(pickle.dumps(model, int(way)))
    except (TypeError, pickle.PicklingError):
        return False  # protocol 0 can't write native classes
    return True


def test_every_fitted_estimator_loads_however_it_was_saved(tmp_path: Path) -> None:
    """All of scikit-learn, joblib and pickle, every protocol, compressed or not."""
    path, loaded = tmp_path / "model", 0
    for estimator, _ in fitted():
        for way in ("joblib", "0", "2", "5"):
            if _save(estimator, way, path):
                model, built = load_restricted(path)
                check_built(built)
                assert vars(model).keys() == vars(estimator).keys()
                loaded += 1
    assert loaded > 900


def _frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({
        "age": rng.integers(1, 90, 60),
        "height": rng.normal(170, 10, 60),
        "city": rng.choice(["a", "b", "c"], 60),
    })  # fmt: skip


def _pipelines() -> list[Any]:
    frame = _frame()
    kinds = [
        (["age", "height"], ["city"]),
        (frame.columns[:2], frame.columns[2:]),
        (slice(0, 2), [2]),
        (
            make_column_selector(dtype_include="number"),
            make_column_selector(dtype_exclude="number"),
        ),
    ]
    return [
        make_pipeline(
            ColumnTransformer([("n", StandardScaler(), numbers), ("c", OneHotEncoder(), words)]),
            LogisticRegression(),
        )
        for numbers, words in kinds
    ]


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("way", ["joblib", "zlib", "gzip", "2", "4", "5"])
def test_pipelines_of_frames_load_and_answer_the_same(
    number: int, way: str, tmp_path: Path
) -> None:
    """Columns chosen by names, by an Index, by slices and by selectors."""
    frame = _frame()
    model = _pipelines()[number].fit(frame, frame["age"] > 40)
    assert _save(model, way, tmp_path / "m")
    loaded, _ = load_restricted(tmp_path / "m")
    assert np.array_equal(loaded.predict_proba(frame), model.predict_proba(frame))


def test_searches_functions_and_generators_load(tmp_path: Path) -> None:
    """What users put into parameters: scorers, NumPy's functions and dtypes, random states."""
    rows, labels = np.abs(np.random.default_rng(0).normal(size=(30, 3))), [0, 1, 2] * 10
    steps = make_pipeline(
        FunctionTransformer(np.log1p, inverse_func=np.expm1),
        LogisticRegression(random_state=np.random.RandomState(1)),
    )
    grid = {"logisticregression__C": [1.0, 2.0]}
    search = GridSearchCV(steps, grid, scoring="accuracy", cv=2).fit(rows, labels)
    joblib.dump(search, tmp_path / "m")
    loaded, _ = load_restricted(tmp_path / "m")
    assert np.array_equal(loaded.predict(rows), search.predict(rows))
    assert np.array_equal(
        loaded.cv_results_["mean_test_score"], search.cv_results_["mean_test_score"]
    )


def test_names_of_older_libraries_are_understood() -> None:
    """NumPy 1's and older SciPy's modules had other names."""
    assert allowlist.current_name("numpy.core.multiarray") == "numpy._core.multiarray"
    assert allowlist.current_name("scipy.sparse.csr") == "scipy.sparse._csr"
    assert allowlist.current_name("scipy.sparse.csrx") == "scipy.sparse.csrx"
    assert allowlist.current_name("os") == "os"


def test_the_operators_names_are_added_exactly(tmp_path: Path) -> None:
    """``MMS_ALLOW_GLOBALS`` allows a name to be made, filled and called, and no other."""
    from fractions import Fraction

    (tmp_path / "m").write_bytes(pickle.dumps(Fraction(1, 2)))
    with warnings.catch_warnings():
        assert load_restricted(tmp_path / "m", frozenset({"fractions:Fraction"}))[0] == Fraction(
            1, 2
        )


def test_an_allowed_name_of_a_module_that_is_not_here_says_what_to_install(tmp_path: Path) -> None:
    """Allowing it was half of the way; the versions of what is here are not to blame."""
    path = tmp_path / "own.pkl"
    path.write_bytes(b"ccompany.features\nEncoder\n.")
    with pytest.raises(LoadError, match="no module 'company' here: install what it belongs to"):
        load_restricted(path, frozenset({"company.features:Encoder"}))
