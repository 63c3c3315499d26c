"""CatBoost models answer as their classes do: labels and probabilities, or values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import catboost as cb
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris

from loaders.base import InputError, LoadError, LoadOptions, Payload, concatenate
from loaders.boosting.catboost import CatBoostLoader
from loaders.boosting.trees import BoostingModel
from loaders.load import load_model
from tests.loaders.boosting.answers import answer_of, assert_same
from tests.loaders.support import csv, rows

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])
HOLES = np.where(np.random.default_rng(0).random(X.shape) < 0.2, np.nan, X)
QUIET = {
    "iterations": 4,
    "depth": 3,
    "verbose": 0,
    "allow_writing_files": False,
    "thread_count": 1,
    "random_seed": 0,
}
FRAME = pd.DataFrame(
    {
        "x": np.linspace(-1, 1, 100),
        "city": ["Tokyo", "Berlin", "New York", "Berlin"] * 25,
        "size": [10, 20, 30, 30, 10] * 20,
        "note": ["good day", "bad day", "so so", "bad luck", "good"] * 20,
    }
)
KINDS = np.where(FRAME["x"] > 0.3, "high", np.where(FRAME["city"] == "Berlin", "mid", "low"))
MIXED = cb.CatBoostClassifier(**QUIET).fit(
    FRAME, KINDS, cat_features=["city", "size"], text_features=["note"]
)
NUMBERS = cb.CatBoostRegressor(**QUIET).fit(pd.DataFrame(X[:, :3], columns=list("abc")), X[:, 3])


def _served(model: Any, path: Path, **options: Any) -> BoostingModel:
    model.save_model(str(path / "m.cbm"))
    return CatBoostLoader().load(path / "m.cbm", LoadOptions(**options))


METHODS = ("predict", "predict_proba", "predict_log_proba")


@pytest.mark.parametrize(
    ("loss", "labels"),
    [
        ("MultiClass", NAMES[Y]),
        ("MultiClassOneVsAll", Y),
        ("Logloss", Y > 0),
        ("Logloss", np.where(Y > 0, "yes", "no")),
        ("CrossEntropy", Y / 4),
        ("MultiLogloss", np.stack([Y > 0, Y > 1], axis=1).astype(int)),
    ],
)
def test_a_classifier_gives_labels_and_probabilities(
    loss: str, labels: Any, tmp_path: Path
) -> None:
    """What CatBoostClassifier gives, to the last bit; the raw values are its decision function."""
    own = cb.CatBoostClassifier(loss_function=loss, **QUIET).fit(X, labels)
    model = _served(own, tmp_path)
    assert model.methods == (*METHODS, "decision_function")
    for method in METHODS:
        assert_same(answer_of(model, rows(*HOLES.tolist()), method), getattr(own, method)(HOLES))
    raw = own.predict(HOLES, prediction_type="RawFormulaVal")
    assert_same(answer_of(model, rows(*HOLES.tolist()), "decision_function"), raw)
    assert model.batchable


@pytest.mark.parametrize(
    "loss", ["RMSE", "Poisson", "Tweedie:variance_power=1.5", "RMSEWithUncertainty", "MAE"]
)
def test_a_regressor_gives_its_values(loss: str, tmp_path: Path) -> None:
    """What CatBoostRegressor gives, as the loss has it."""
    own = cb.CatBoostRegressor(loss_function=loss, **QUIET).fit(X[:, :3], X[:, 3])
    model = _served(own, tmp_path)
    assert model.methods == ("predict",)
    assert_same(answer_of(model, rows(*X[:, :3].tolist())), own.predict(X[:, :3]))


def test_a_ranker_gives_its_values(tmp_path: Path) -> None:
    """Which are no probabilities."""
    own = cb.CatBoostRanker(loss_function="YetiRank", bootstrap_type="No", **QUIET)
    own.fit(X, Y, group_id=np.repeat(np.arange(15), 10))
    assert_same(answer_of(_served(own, tmp_path), rows(*X.tolist())), own.predict(X))


def test_the_manifest_chooses_the_method(tmp_path: Path) -> None:
    """As for scikit-learn."""
    model = _served(MIXED, tmp_path, method="predict_proba")
    assert model.methods[0] == "predict_proba"
    with pytest.raises(LoadError, match="has no method 'transform', it has predict, predict_proba"):
        _served(MIXED, tmp_path, method="transform")
    with pytest.raises(LoadError, match="has no option 'output'"):
        _served(MIXED, tmp_path, options={"output": "value"})


def _sent() -> list[list[Any]]:
    sent: list[list[Any]] = FRAME.to_numpy(dtype=object).tolist()
    return sent


def test_categories_and_texts_are_taken_as_they_are(tmp_path: Path) -> None:
    """Texts and whole numbers, by position and by name, in JSON and CSV."""
    model = _served(MIXED, tmp_path)
    expected = MIXED.predict_proba(FRAME)
    names = ("x", "city", "size", "note")
    by_name = [dict(zip(names, row, strict=True)) for row in _sent()]
    lines = [",".join(map(str, row)) for row in _sent()]
    for payload in (rows(*_sent()), rows(*by_name), csv("x,city,size,note", *lines), csv(*lines)):
        assert_same(answer_of(model, payload, "predict_proba"), expected)
    assert_same(answer_of(model, rows(*_sent())), MIXED.predict(FRAME))
    assert model.batchable
    assert [(s.name, s.dtype) for s in model.signature.inputs][:2] == [
        ("x", "float64"),
        ("city", "any"),
    ]


def test_a_category_of_csv_is_the_text_that_stands_there(tmp_path: Path) -> None:
    """Not the number that it may look like."""
    frame = pd.DataFrame({"code": ["007", "7", "7.0", "07"] * 25})
    own = cb.CatBoostRegressor(**QUIET).fit(frame, np.arange(100) % 4, cat_features=["code"])
    model = _served(own, tmp_path)
    assert_same(answer_of(model, csv("code", "007", "7", "7.0", "07")), own.predict(frame.iloc[:4]))


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ([0.5, 1.5, 10, "a"], r"row 0, column 'city' \(1\): 1\.5 where a text or a whole number"),
        ([0.5, None, 10, "a"], r"row 0, column 'city' \(1\): null where a text or a whole number"),
        ([0.5, True, 10, "a"], r"row 0, column 'city' \(1\): true where a text or a whole number"),
        ([0.5, "Tokyo", 10, 5], r"row 0, column 'note' \(3\): 5 where a text is needed"),
        ([0.5, "Tokyo", 10, None], r"row 0, column 'note' \(3\): null where a text is needed"),
        (["x", "Tokyo", 10, "a"], r"row 0, column 'x' \(0\): 'x' isn't a number"),
        ([0.5, "Tokyo", 10], "row 0 has 3 values, but the model has 4 columns"),
        ([0.5, "Tokyo", 10, "a", 1], "row 0 has 5 values, but the model has 4 columns"),
    ],
)
def test_what_catboost_refuses_is_named(row: list[Any], says: str, tmp_path: Path) -> None:
    """With row and column; a missing number is a missing value."""
    model = _served(MIXED, tmp_path)
    with pytest.raises(InputError, match=says):
        model.prepare(rows(row))
    answer_of(model, rows([None, "Tokyo", 10, "good"]))


def test_an_empty_cell_is_no_category(tmp_path: Path) -> None:
    """In CSV, where it could be anything that the training took it for."""
    with pytest.raises(InputError, match=r"column 'city' \(1\): null where a text"):
        _served(MIXED, tmp_path).prepare(csv("0.5,,10,good"))


def test_every_form_comes_to_the_same(tmp_path: Path) -> None:
    """Rows, rows by name, a flat row, CSV, columns by name; they may run together."""
    model = _served(NUMBERS, tmp_path)
    row = [5, 3.5, 1]
    payloads = [
        rows(row),
        rows({"c": 1, "b": 3.5, "a": 5}),
        Payload(form="rows", rows=row, flat=True),
        csv("c,a,b", "1,5,3.5", header=True),
        Payload(form="inputs", tensors={"a": [5], "b": [3.5], "c": [1]}),
    ]
    expected = NUMBERS.predict(np.array([row]))
    for payload in payloads:
        assert_same(answer_of(model, payload), expected)
    batch = concatenate([model.prepare(p) for p in payloads])
    assert model.run("predict", batch).arrays["predict"].tolist() == expected.tolist() * 5


def test_names_that_are_numbers_are_no_names(tmp_path: Path) -> None:
    """A row of numbers in order isn't taken for a header."""
    own = cb.CatBoostRegressor(**QUIET).fit(X, Y)
    model = _served(own, tmp_path)
    assert_same(answer_of(model, csv("0,1,2,3")), own.predict([[0, 1, 2, 3]]))


def test_embeddings_are_refused(tmp_path: Path) -> None:
    """Which no request could send."""
    frame = pd.DataFrame({"v": [[1.0, float(i)] for i in range(50)]})
    own = cb.CatBoostRegressor(**QUIET).fit(frame, list(range(50)), embedding_features=["v"])
    with pytest.raises(LoadError, match="takes embeddings, which isn't supported"):
        _served(own, tmp_path)


@pytest.mark.parametrize("name", ["m.cbm", "sub/model.bin", "catboost"])
def test_the_content_tells_a_model(name: str, tmp_path: Path) -> None:
    """Under any name; nothing is written beside it."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    NUMBERS.save_model(str(tmp_path / name))
    assert load_model(tmp_path, LoadOptions()).format == "catboost"
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == [Path(name).name]


def test_a_broken_file_says_so_without_paths(tmp_path: Path) -> None:
    """Cut short at any place, or filled with something else."""
    NUMBERS.save_model(str(tmp_path / "m.cbm"))
    whole = (tmp_path / "m.cbm").read_bytes()
    for data in (
        whole[:4],
        whole[:7],
        whole[:50],
        whole[: len(whole) // 2],
        whole[:-10],
        b"CBM1\xff\xff\xff\xff" + whole[8:],
        b"CBM1\x40\0\0\0" + bytes(64),
        whole[:8] + b"\xff" * 40 + whole[48:],
    ):
        (tmp_path / "m.cbm").write_bytes(data)
        with pytest.raises(LoadError, match="CatBoost") as caught:
            load_model(tmp_path, LoadOptions())
        assert "/" not in str(caught.value)
