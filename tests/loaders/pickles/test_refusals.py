"""All names that a pickle may not use are found, and none of them is used for it."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from loaders.pickles.refusals import refused_names
from tests.loaders.pickles.assemble import (
    call,
    done,
    fill,
    many,
    name,
    new,
    stack_name,
    table,
    text,
    value,
)


def _saved(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "model.pkl"
    path.write_bytes(data)
    return path


class Doubling:
    """Somebody's own transformer."""

    def fit(self, x: object, y: object = None) -> Doubling:
        del x, y
        return self

    def transform(self, x: np.ndarray) -> np.ndarray:
        return 2 * x


class Table(dict[str, int]):
    """Somebody's own kind of dict: its items come one by one."""


def test_a_model_that_loads_has_none(tmp_path: Path) -> None:
    """Nothing is reported of an ordinary model, compressed or not."""
    x = np.arange(20.0).reshape(10, 2)
    model = make_pipeline(StandardScaler(), RandomForestClassifier(3)).fit(x, x[:, 0] > 8)
    for compress in (0, 3):
        joblib.dump(model, tmp_path / "model.joblib", compress=compress)
        assert refused_names(tmp_path / "model.joblib") == []


def test_every_name_is_found_in_its_order(tmp_path: Path) -> None:
    """Names after the first refused one are found too, whatever is done with them."""
    hits = [
        call(name("os:system"), text("touch x")),
        new(name("somewhere.else:Model"), value(1)),
        fill(new(stack_name("my.lib:Scaler")), table(mean=value(2.0))),
        call(stack_name("builtins:eval"), text("1")),
        call(name("os:system"), text("once more")),
    ]
    assert refused_names(_saved(tmp_path, done(many(*hits)))) == [
        "os:system",
        "somewhere.else:Model",
        "my.lib:Scaler",
        "builtins:eval",
    ]


def test_own_classes_are_named_whatever_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step of a pipeline, a function and a dict of their own are named; none is imported."""
    for thing in (Doubling, Table):
        monkeypatch.setattr(thing, "__module__", "tests_company_code")
        monkeypatch.setattr(sys.modules[__name__], thing.__name__, thing)
    module = type(sys)("tests_company_code")
    vars(module).update(Doubling=Doubling, Table=Table)
    monkeypatch.setitem(sys.modules, "tests_company_code", module)
    pipeline = make_pipeline(Doubling(), FunctionTransformer(np.log1p))
    data = pickle.dumps([pipeline, Table(a=1), [1, 2]])
    monkeypatch.delitem(sys.modules, "tests_company_code")
    assert refused_names(_saved(tmp_path, data)) == [
        "tests_company_code:Doubling",
        "tests_company_code:Table",
    ]
    assert "tests_company_code" not in sys.modules


def test_allowed_names_are_not_reported(tmp_path: Path) -> None:
    """What the operator has added to the list isn't refused."""
    data = done(many(new(name("fractions:Fraction")), new(name("decimal:Decimal"))))
    path = _saved(tmp_path, data)
    assert refused_names(path, frozenset({"fractions:Fraction"})) == ["decimal:Decimal"]


def test_a_broken_file_gives_what_was_read(tmp_path: Path) -> None:
    """A pickle that breaks off, and one that is none, end the search without an error."""
    data = done(many(call(name("os:system"), text("x")), value([1] * 100)))
    assert refused_names(_saved(tmp_path, data[:-50])) == ["os:system"]
    assert refused_names(_saved(tmp_path, b"no pickle")) == []


def test_the_number_of_names_is_bounded(tmp_path: Path) -> None:
    """A file of nothing but names doesn't fill the report."""
    data = done(many(*(name(f"m:n{i}") for i in range(3000))))
    assert len(refused_names(_saved(tmp_path, data))) == 1000
