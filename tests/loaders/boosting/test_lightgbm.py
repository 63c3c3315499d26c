"""LightGBM models answer as ``Booster.predict`` does, and no crafted text reaches native code."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris

from loaders.base import InputError, LoadError, LoadOptions, Payload, concatenate
from loaders.boosting.lightgbm import LightGbmLoader
from loaders.boosting.trees import BoostingModel
from loaders.load import load_model
from tests.loaders.boosting.answers import answer_of, assert_same
from tests.loaders.support import csv, rows

X, Y = load_iris(return_X_y=True)
HOLES = np.where(np.random.default_rng(0).random(X.shape) < 0.2, np.nan, X)
QUIET = {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 5, "num_leaves": 7}
FRAME = pd.DataFrame(
    {
        "x": np.linspace(-1, 1, 200),
        "city": pd.Categorical(["Tokyo", "Berlin", "New York", "Berlin"] * 50),
        "size": pd.Categorical([10, 20, 30, 30, 10] * 40),
    }
)
TARGET = (FRAME["city"] == "Berlin") * 2.0 + FRAME["x"] + (FRAME["size"] == 20) * 3.0
CATEGORIES = {"min_data_per_group": 5, "cat_smooth": 1, "max_cat_to_onehot": 1}


def _train(rounds: int = 5, data: Any = None, **params: Any) -> lgb.Booster:
    if data is None:
        data = lgb.Dataset(X, Y, feature_name=["a", "b", "c", "d"], free_raw_data=False)
    return lgb.train({**QUIET, **params}, data, rounds)


CLASSES = _train(objective="multiclass", num_class=3)
NUMBERS = _train()
OF_FRAME = _train(6, lgb.Dataset(FRAME, TARGET), **CATEGORIES)


def _served(booster: lgb.Booster, path: Path, **options: Any) -> BoostingModel:
    booster.save_model(path / "m.txt")
    return LightGbmLoader().load(path / "m.txt", LoadOptions(**options))


@pytest.mark.parametrize(
    "booster",
    [
        CLASSES,
        NUMBERS,
        _train(objective="binary", data=lgb.Dataset(X, Y > 0)),
        _train(boosting="dart"),
        _train(boosting="rf", bagging_freq=1, bagging_fraction=0.5),
        _train(linear_tree=True),
        _train(objective="multiclassova", num_class=3),
        _train(data=lgb.Dataset(X, np.ones(150))),  # trees of one leaf
    ],
)
def test_every_kind_of_booster_gives_its_own_numbers(booster: lgb.Booster, tmp_path: Path) -> None:
    """Bit for bit, missing values included; several classes are columns."""
    model = _served(booster, tmp_path)
    assert_same(answer_of(model, rows(*HOLES.tolist())), booster.predict(HOLES))
    assert model.batchable
    assert model.methods == ("predict",)


@pytest.mark.parametrize(
    ("output", "wanted"),
    [
        ("raw_score", {"raw_score": True}),
        ("leaf", {"pred_leaf": True}),
        ("contribs", {"pred_contrib": True}),
    ],
)
def test_the_manifest_chooses_another_output(
    output: str, wanted: dict[str, bool], tmp_path: Path
) -> None:
    """Scores, leaves and contributions, as Booster.predict gives them."""
    model = _served(CLASSES, tmp_path, options={"output": output})
    assert_same(answer_of(model, rows(*X.tolist())), CLASSES.predict(X, **wanted))


def test_every_form_comes_to_the_same(tmp_path: Path) -> None:
    """Rows, rows by name, a flat row, CSV, columns by name; whole numbers are numbers."""
    model = _served(NUMBERS, tmp_path)
    row = [5, 3.5, 1, 0.5]
    payloads = [
        rows(row),
        rows({"d": 0.5, "c": 1, "b": 3.5, "a": 5}),
        Payload(form="rows", rows=row, flat=True),
        csv("5,3.5,1,0.5"),
        csv("c,a,b,d", "1,5,3.5,0.5", header=True),
        Payload(form="inputs", tensors={"a": [5], "b": [3.5], "c": [1], "d": [0.5]}),
    ]
    expected: Any = NUMBERS.predict(np.array([row]))
    for payload in payloads:
        assert_same(answer_of(model, payload), expected)
    batch = concatenate([model.prepare(p) for p in payloads])
    assert model.run("predict", batch).arrays["predict"].tolist() == expected.tolist() * 6


def test_whole_numbers_keep_all_their_digits(tmp_path: Path) -> None:
    """LightGBM itself would round an array of int64 to float32."""
    table = np.array([[16777216.0], [16777217.0]] * 50)
    booster = _train(data=lgb.Dataset(table, table[:, 0] % 2))
    expected = booster.predict(table[:2])
    assert expected[0] != expected[1]
    assert_same(answer_of(_served(booster, tmp_path), rows([16777216], [16777217])), expected)


def test_categories_are_those_of_the_training(tmp_path: Path) -> None:
    """Texts and whole numbers as the DataFrame had them; an unknown one is a missing value."""
    model = _served(OF_FRAME, tmp_path)
    sent = FRAME.to_numpy(dtype=object).tolist()
    assert_same(answer_of(model, rows(*sent)), OF_FRAME.predict(FRAME))
    lines = [",".join(map(str, row)) for row in sent]
    assert_same(answer_of(model, csv("x,city,size", *lines)), OF_FRAME.predict(FRAME))
    assert model.batchable
    odd = pd.DataFrame(
        {"x": [0.5, 0.5], "city": pd.Categorical(["Paris", None]), "size": pd.Categorical([99, 10])}
    )
    assert_same(answer_of(model, rows([0.5, "Paris", 99], [0.5, None, 10])), OF_FRAME.predict(odd))
    with pytest.raises(InputError, match=r"row 0, column 'city' \(1\): 5 where one of the model's"):
        model.prepare(rows([0.5, 5, 10]))


def test_early_stopping_is_the_boosters(tmp_path: Path) -> None:
    """The file holds the trees up to the best round."""
    held = lgb.Dataset(X[::2], Y[::2][::-1])
    stop = lgb.early_stopping(2, verbose=False)
    booster = lgb.train(QUIET, lgb.Dataset(X[1::2], Y[1::2]), 30, [held], callbacks=[stop])
    assert_same(answer_of(_served(booster, tmp_path), rows(*X.tolist())), booster.predict(X))


# Where it is found, and what is refused


@pytest.mark.parametrize("name", ["model.txt", "sub/m.lgb", "m.model", "lightgbm"])
def test_the_content_tells_a_model(name: str, tmp_path: Path) -> None:
    """Under any name, with texts beside it that are none."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(NUMBERS.model_to_string())
    (tmp_path / "tree.txt").write_text("tree\nof life\n")
    assert load_model(tmp_path, LoadOptions()).format == "lightgbm"


TEXT = CLASSES.model_to_string()


def _swap(pattern: str, new: str) -> Callable[[str], str]:
    """The first match replaced, with the size of its tree put right."""

    def change(text: str) -> str:
        changed = re.sub(pattern, new, text, count=1, flags=re.MULTILINE)
        assert changed != text, pattern
        return _resized(changed)

    return change


def _resized(text: str) -> str:
    starts = [m.start() for m in re.finditer(r"^Tree=", text, re.MULTILINE)]
    starts.append(text.index("end of trees"))
    sizes = [str(end - start) for start, end in pairwise(starts)]
    return re.sub(r"^tree_sizes=.*$", f"tree_sizes={' '.join(sizes)}", text, flags=re.MULTILINE)


CRAFTED: dict[str, tuple[Callable[[str], str], str]] = {
    "circle": (_swap(r"^left_child=\d+", "left_child=0"), "lead out of it"),
    "child outside": (_swap(r"^right_child=\S+", "right_child=99999"), "lead out of it"),
    "leaf outside": (_swap(r"^right_child=\S+", "right_child=-99999"), "lead out of it"),
    "feature": (_swap(r"^split_feature=\d+", "split_feature=4"), "a feature that there isn't"),
    "feature before": (_swap(r"^split_feature=\d+", "split_feature=-1"), "a feature that there"),
    "short": (_swap(r"^threshold=\S+ ", "threshold="), "too many or too few of threshold"),
    "long": (_swap(r"^leaf_value=", "leaf_value=1 "), "too many or too few of leaf_value"),
    "words": (_swap(r"^split_gain=\S+", "split_gain=one"), "other things than numbers"),
    "underscore": (_swap(r"^leaf_value=\S+", "leaf_value=1_0"), "other things than numbers"),
    "no field": (_swap(r"^threshold=", "threshold "), "says 'threshold"),
    "missing": (_swap(r"^threshold=.*\n", ""), "isn't as LightGBM writes it"),
    "twice": (_swap(r"^(num_leaves=.*)$", r"\1\n\1"), "says 'num_leaves' twice"),
    "category": (_swap(r"^decision_type=\d+", "decision_type=1"), "categories of no node"),
    "leaves": (_swap(r"^num_leaves=\d+", "num_leaves=999999999"), "a size beyond any"),
    "classes": (_swap(r"^num_class=3", "num_class=2"), "different numbers of classes"),
    "objective": (_swap(r"num_class:3", "num_class:9999"), "different numbers of classes"),
    "rounds": (
        lambda text: _resized(re.sub(r"^Tree=14\n(.+\n)+\n\n", "", text, flags=re.MULTILINE)),
        "without a tree for every class",
    ),
    "features": (_swap(r"^max_feature_idx=3", "max_feature_idx=99"), "number of features"),
    "no features": (_swap(r"^max_feature_idx=3", "max_feature_idx=-9"), "number of features"),
    "sizes": (lambda t: re.sub(r"tree_sizes=\d+", "tree_sizes=7", t), "at other places"),
    "fewer sizes": (lambda t: re.sub(r"tree_sizes=\d+ ", "tree_sizes=", t), "number of trees"),
    "zeros": (lambda t: t.replace("num_leaves", "num_\0leaves"), "holds zero bytes"),
    "windows": (lambda t: t.replace("\n", "\r\n"), "Windows line ends"),
    "cut": (lambda t: t[: t.index("end of trees")], "cut short"),
    "cut early": (lambda t: t[: t.index("Tree=14") + 50], "corrupt"),
}


@pytest.mark.parametrize("kind", CRAFTED)
def test_a_crafted_model_never_reaches_native_code(kind: str, tmp_path: Path) -> None:
    """What LightGBM would follow out of its arrays, or abort on, is found before."""
    change, says = CRAFTED[kind]
    (tmp_path / "m.txt").write_bytes(change(TEXT).encode())
    with pytest.raises(LoadError, match=says):
        load_model(tmp_path, LoadOptions())


def test_a_linear_leaf_of_no_feature_is_refused(tmp_path: Path) -> None:
    """The same for the features that leaves compute with."""
    text = _train(linear_tree=True).model_to_string()
    for pattern, new in (
        (r"^leaf_features=.*?\d+", "leaf_features=77"),
        (r"^num_features=\d+", "num_features=99"),
    ):
        (tmp_path / "m.txt").write_text(_swap(pattern, new)(text))
        with pytest.raises(LoadError, match="corrupt"):
            load_model(tmp_path, LoadOptions())


@pytest.mark.parametrize(
    ("kept", "says"),
    [
        ('[["a"]]', "doesn't say of which columns"),
        ("[[{}], [1]]", "its categories can't be read"),
        ("{}x", "isn't as LightGBM writes it"),
        ("[" * 100_000, "isn't as LightGBM writes it"),
    ],
)
def test_categories_that_dont_fit_are_refused(kept: str, says: str, tmp_path: Path) -> None:
    """Rather than guessed."""
    text = re.sub(r"pandas_categorical:.*", f"pandas_categorical:{kept}", _text_of_frame(tmp_path))
    (tmp_path / "m.txt").write_text(text)
    with pytest.raises(LoadError, match=says):
        load_model(tmp_path, LoadOptions())


def _text_of_frame(path: Path) -> str:
    OF_FRAME.save_model(path / "m.txt")
    return (path / "m.txt").read_text()


def test_what_lightgbm_says_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """And nothing is printed."""
    (tmp_path / "m.txt").write_text(
        TEXT.replace("objective=multiclass num_class:3", "objective=no")
    )
    with pytest.raises(LoadError, match=r"LightGBM can't load the model: LightGBMError: .*no"):
        load_model(tmp_path, LoadOptions())
    assert capfd.readouterr().out == ""
