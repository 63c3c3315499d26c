"""XGBoost models answer as ``Booster.predict`` does, and no crafted file reaches native code."""

from __future__ import annotations

import copyreg
import gzip
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import xgboost as xgb
from sklearn.datasets import load_iris

from loaders.base import InputError, LoadError, LoadOptions, Payload, concatenate
from loaders.boosting.trees import BoostingModel
from loaders.boosting.xgboost import XGBoostLoader
from loaders.load import load_model
from tests.loaders.boosting.answers import answer_of, assert_same
from tests.loaders.support import csv, rows

X, Y = load_iris(return_X_y=True)
ONE = {"nthread": 1, "verbosity": 0}
HOLES = np.where(np.random.default_rng(0).random(X.shape) < 0.2, np.nan, X)
CLASSES = xgb.train(
    {**ONE, "objective": "multi:softprob", "num_class": 3, "max_depth": 3}, xgb.DMatrix(X, Y), 8
)
FRAME = pd.DataFrame(
    {
        "city": pd.Categorical(["Tokyo", "Berlin", "New York", "Berlin"] * 25),
        "size": pd.Categorical([10, 20, 30, 30, 10] * 20),
        "x": np.linspace(-1, 1, 100),
    }
)
TARGET = (FRAME["city"] == "Berlin") * 2.0 + FRAME["x"] + (FRAME["size"] == 20) * 3.0


def _train(booster: str = "gbtree", rounds: int = 5, **params: Any) -> xgb.Booster:
    data = xgb.DMatrix(X[:, :3], X[:, 3], feature_names=["a", "b", "c"])
    return xgb.train({**ONE, "booster": booster, **params}, data, rounds)


NUMBERS = _train()


def _served(booster: xgb.Booster, path: Path, name: str = "m.ubj", **options: Any) -> BoostingModel:
    booster.save_model(path / name)
    return XGBoostLoader().load(path / name, LoadOptions(**options))


@pytest.mark.parametrize("name", ["m.ubj", "m.json"])
def test_a_classifier_gives_the_boosters_own_numbers(name: str, tmp_path: Path) -> None:
    """Bit for bit, missing values included."""
    model = _served(CLASSES, tmp_path, name)
    assert_same(answer_of(model, rows(*HOLES.tolist())), CLASSES.predict(xgb.DMatrix(HOLES)))
    assert model.batchable
    assert model.methods == ("predict",)
    assert model.signature.inputs[0].shape == (None, 4)


@pytest.mark.parametrize(
    "booster",
    [
        NUMBERS,
        _train("dart", rate_drop=0.5),
        _train("gblinear"),
        _train(num_parallel_tree=3, subsample=0.5),
        _train(objective="count:poisson"),
        _train(rounds=0),
    ],
)
def test_every_kind_of_booster_is_served(booster: xgb.Booster, tmp_path: Path) -> None:
    """Trees, trees with dropout, linear ones, forests, and one without any tree."""
    model = _served(booster, tmp_path)
    expected = booster.predict(xgb.DMatrix(X[:, :3], feature_names=["a", "b", "c"]))
    assert_same(answer_of(model, rows(*X[:, :3].tolist())), expected)
    by_name = [dict(zip("cba", row[::-1].tolist(), strict=True)) for row in X[:, :3]]
    assert_same(answer_of(model, rows(*by_name)), expected)
    assert [spec.name for spec in model.signature.inputs] == ["a", "b", "c"]


def test_several_targets_and_early_stopping_are_the_boosters(tmp_path: Path) -> None:
    """All trees answer, as in Booster.predict, wherever the best round was."""
    both = xgb.DMatrix(X, np.stack([Y, Y * 2], axis=1))
    for strategy in ("one_output_per_tree", "multi_output_tree"):
        booster = xgb.train({**ONE, "multi_strategy": strategy}, both, 3)
        assert_same(
            answer_of(_served(booster, tmp_path), rows(*X.tolist())),
            booster.predict(xgb.DMatrix(X)),
        )
    held = xgb.DMatrix(X[::2], Y[::2][::-1])
    data = xgb.DMatrix(X[1::2], Y[1::2])
    booster = xgb.train(
        ONE, data, 30, evals=[(held, "held")], early_stopping_rounds=2, verbose_eval=False
    )
    assert booster.best_iteration < booster.num_boosted_rounds() - 1
    assert_same(
        answer_of(_served(booster, tmp_path), rows(*X.tolist())), booster.predict(xgb.DMatrix(X))
    )


@pytest.mark.parametrize("booster", [CLASSES, _train("dart")])
@pytest.mark.parametrize(
    ("output", "wanted"),
    [
        ("margin", {"output_margin": True}),
        ("leaf", {"pred_leaf": True}),
        ("contribs", {"pred_contribs": True}),
    ],
)
def test_the_manifest_chooses_another_output(
    booster: xgb.Booster, output: str, wanted: dict[str, bool], tmp_path: Path
) -> None:
    """Margins, leaves and contributions, as Booster.predict gives them."""
    model = _served(booster, tmp_path, options={"output": output})
    data = X[:, : booster.num_features()]
    matrix = xgb.DMatrix(data, feature_names=booster.feature_names)
    assert_same(answer_of(model, rows(*data.tolist())), booster.predict(matrix, **wanted))


def test_every_form_comes_to_the_same(tmp_path: Path) -> None:
    """Rows, rows by name, a flat row, CSV, columns by name, whole numbers; a batch of them all."""
    model = _served(NUMBERS, tmp_path)
    row = [5, 3.5, 1]
    payloads = [
        rows(row),
        rows({"c": 1, "b": 3.5, "a": 5}),
        Payload(form="rows", rows=row, flat=True),
        csv("5,3.5,1"),
        csv("c,a,b", "1,5,3.5", header=True),
        Payload(form="inputs", tensors={"a": [5], "b": [3.5], "c": [1]}),
    ]
    expected = NUMBERS.predict(xgb.DMatrix(np.array([row]), feature_names=["a", "b", "c"]))
    for payload in payloads:
        assert_same(answer_of(model, payload), expected)
    batch = concatenate([model.prepare(p) for p in payloads])
    assert model.run("predict", batch).arrays["predict"].tolist() == expected.tolist() * 6


def test_null_is_a_missing_value(tmp_path: Path) -> None:
    """In JSON and as an empty cell."""
    model = _served(NUMBERS, tmp_path)
    matrix = xgb.DMatrix(np.array([[np.nan, 3.5, 1]]), feature_names=["a", "b", "c"])
    for payload in (rows([None, 3.5, 1]), rows([float("nan"), 3.5, 1]), csv(",3.5,1")):
        assert_same(answer_of(model, payload), NUMBERS.predict(matrix))


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), 1e39])
def test_what_the_booster_refuses_is_the_requests_error(value: float, tmp_path: Path) -> None:
    """Infinities, and what becomes one in float32; with row and column."""
    with pytest.raises(xgb.core.XGBoostError, match="contains `inf`"):
        xgb.DMatrix(np.array([[value]]))
    model = _served(NUMBERS, tmp_path)
    with pytest.raises(InputError, match=r"row 1, column 'b' \(1\): .* is more than XGBoost takes"):
        model.prepare(rows([1.0, 2.0, 3.0], [1.0, value, 3.0]))


@pytest.mark.parametrize(
    ("row", "says"),
    [([1.0, 2.0], "has 2 values, but the model has 3"), ([1.0, "x", 2.0], "isn't a number")],
)
def test_rows_that_dont_fit_are_refused(row: list[Any], says: str, tmp_path: Path) -> None:
    """Before XGBoost sees them."""
    with pytest.raises(InputError, match=says):
        _served(NUMBERS, tmp_path).prepare(rows(row))


@pytest.mark.parametrize("name", ["m.ubj", "m.json"])
def test_categories_are_those_of_the_training(name: str, tmp_path: Path) -> None:
    """Texts and whole numbers as the DataFrame had them, split one by one and in sets."""
    data = xgb.DMatrix(FRAME, TARGET, enable_categorical=True)
    for one_by_one in (1, 10):
        booster = xgb.train({**ONE, "max_cat_to_onehot": one_by_one}, data, 6)
        model = _served(booster, tmp_path, name)
        sent = FRAME.to_numpy(dtype=object).tolist()
        expected = booster.predict(data)
        assert_same(answer_of(model, rows(*sent)), expected)
        lines = [",".join(map(str, row)) for row in sent]
        assert_same(answer_of(model, csv("city,size,x", *lines)), expected)
        assert model.batchable
    with pytest.raises(InputError, match=r"'Paris' is a category that the model wasn't trained"):
        model.prepare(rows(["Paris", 10, 0.5]))


def test_codes_are_taken_where_the_model_keeps_no_categories(tmp_path: Path) -> None:
    """As older versions of XGBoost have it."""
    table = np.array([[0.0, 1.0], [1.0, 2.0], [2.0, 3.0], [1.0, 4.0]] * 10)
    data = xgb.DMatrix(table, table[:, 0] % 2, feature_types=["c", "float"])
    booster = xgb.train({**ONE, "max_cat_to_onehot": 1}, data, 4)
    assert_same(answer_of(_served(booster, tmp_path), rows(*table.tolist())), booster.predict(data))


# Where it is found


@pytest.mark.parametrize("name", ["m.ubj", "sub/m.json", "xgboost-model", "m.bst", "weights"])
@pytest.mark.parametrize("raw", ["ubj", "json"])
def test_the_content_tells_a_model(name: str, raw: str, tmp_path: Path) -> None:
    """Under any name, with JSON beside it that is none."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(CLASSES.save_raw(raw))
    (tmp_path / "params.json").write_text('{"learning_rate": 0.3}')
    model = load_model(tmp_path, LoadOptions())
    assert model.format == "xgboost"


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", ["xgboost-model", "m.pkl"])
def test_a_pickled_booster_is_served(name: str, protocol: int, tmp_path: Path) -> None:
    """As SageMaker's container saved it; nothing in the pickle runs."""
    (tmp_path / name).write_bytes(pickle.dumps(CLASSES, protocol=protocol))
    model = load_model(tmp_path, LoadOptions())
    assert model.format == "xgboost"
    assert isinstance(model, BoostingModel)
    assert_same(answer_of(model, rows(*X.tolist())), CLASSES.predict(xgb.DMatrix(X)))


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("xz", 3)])
def test_a_booster_of_joblib_is_served(compress: Any, tmp_path: Path) -> None:
    """Compressed or not."""
    joblib.dump(NUMBERS, tmp_path / "m.joblib", compress=compress)
    assert load_model(tmp_path, LoadOptions()).format == "xgboost"


def test_a_pickle_of_the_first_json_versions_is_served(tmp_path: Path) -> None:
    """Whose buffer is JSON, with the model within."""
    state = {"handle": bytearray(_as_json(NUMBERS))}
    text = pickle.dumps(_Pickled(state), protocol=4)
    (tmp_path / "xgboost-model").write_bytes(text)
    model = load_model(tmp_path, LoadOptions())
    assert isinstance(model, BoostingModel)
    expected = NUMBERS.predict(xgb.DMatrix(X[:, :3], feature_names=["a", "b", "c"]))
    assert_same(answer_of(model, rows(*X[:, :3].tolist())), expected)


class _Pickled:
    """Pickled as a Booster of that state."""

    def __init__(self, state: object) -> None:
        self.state = state

    def __reduce__(self) -> tuple[Any, ...]:
        return vars(copyreg)["_reconstructor"], (xgb.Booster, object, None), self.state


def _as_json(booster: xgb.Booster) -> bytes:
    return b'{"Config": {}, "Model": ' + bytes(booster.save_raw("json")) + b"}"


class _Runs:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.canary}",)


@pytest.mark.parametrize("trusted", [False, True])
def test_a_pickle_never_runs_anything(trusted: bool, tmp_path: Path) -> None:
    """Not even one that begins like a Booster's, and not even where pickles are trusted."""
    canary = tmp_path / "canary"
    path = tmp_path / "xgboost-model"
    path.write_bytes(pickle.dumps(_Pickled({"handle": _Runs(canary)}), protocol=4))
    with pytest.raises(LoadError, match="system"):
        XGBoostLoader().load(path, LoadOptions(trusted=trusted))
    assert not canary.exists()


def test_a_pickle_of_something_else_says_how_to_save_it(tmp_path: Path) -> None:
    """An empty Booster, or one wrapped up."""
    path = tmp_path / "xgboost-model"
    path.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(LoadError, match=r"holds a list, not an XGBoost Booster.*save_model"):
        XGBoostLoader().load(path, LoadOptions())
    path.write_bytes(pickle.dumps(_Pickled({"handle": None})))
    with pytest.raises(LoadError, match="empty"):
        XGBoostLoader().load(path, LoadOptions())


# What is refused


@pytest.mark.parametrize("head", [b"binf", b"bs64\t", b"\x00\x00\x00\x3f\xff"])
@pytest.mark.parametrize("pickled", [False, True])
def test_the_old_binary_format_says_the_way_out(head: bytes, pickled: bool, tmp_path: Path) -> None:
    """The installed XGBoost can't read it; a version that can is named."""
    data = head + bytes(range(100, 255)) * 10
    with pytest.raises(xgb.core.XGBoostError):
        xgb.Booster(model_file=bytearray(data))
    if pickled:
        data = pickle.dumps(_Pickled({"handle": bytearray(data)}), protocol=4)
    (tmp_path / "xgboost-model").write_bytes(data)
    with pytest.raises(LoadError, match=r"old binary format.*before that.*save_model"):
        load_model(tmp_path, LoadOptions())


def _document(booster: xgb.Booster = CLASSES) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(booster.save_raw("json"))
    return document


def _tree(document: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = document["learner"]["gradient_booster"]["model"]["trees"][0]
    return tree


def _set(name: str, index: int, value: int) -> Callable[[dict[str, Any]], None]:
    return lambda document: _tree(document)[name].__setitem__(index, value)


def _trees(document: dict[str, Any], **changes: Any) -> None:
    document["learner"]["gradient_booster"]["model"].update(changes)


def _params(document: dict[str, Any], **changes: Any) -> None:
    document["learner"]["learner_model_param"].update(changes)


CRAFTED: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "circle": (_set("left_children", 0, 0), "lead out of it"),
    "shared child": (lambda d: _set("left_children", 0, _tree(d)["right_children"][0])(d), "lead"),
    "child outside": (_set("right_children", 0, 1 << 20), "lead out of it"),
    "child before": (_set("right_children", 0, -2), "lead out of it"),
    "half a leaf": (_set("right_children", 0, -1), "lead out of it"),
    "feature outside": (_set("split_indices", 0, 4), "asks for a feature that there isn't"),
    "feature before": (_set("split_indices", 0, -1), "asks for a feature that there isn't"),
    "short array": (lambda d: _tree(d)["default_left"].pop(), "another size than it announces"),
    "short leaves": (lambda d: _tree(d)["base_weights"].pop(), "another size than it announces"),
    "no array": (lambda d: _tree(d).pop("split_conditions"), "isn't as XGBoost writes it"),
    "no nodes": (lambda d: _tree(d)["tree_param"].update(num_nodes="0"), "another size"),
    "huge tree": (lambda d: _tree(d)["tree_param"].update(num_nodes="9" * 30), "size beyond"),
    "vector leaves": (lambda d: _tree(d)["tree_param"].update(size_leaf_vector="7"), "another"),
    "nested array": (_set("left_children", 0, []), "corrupt"),  # type: ignore[arg-type]
    "class outside": (lambda d: _trees(d, tree_info=[3] * 24), "a class that there isn't"),
    "fewer classes": (lambda d: _params(d, num_class="0"), "a class that there isn't"),
    "many features": (lambda d: _params(d, num_feature="99999999999"), "size beyond any"),
    "fewer features": (lambda d: _params(d, num_feature="1"), "asks for a feature"),
    "rounds": (lambda d: _trees(d, iteration_indptr=[0, 99]), "number of rounds"),
    "trees": (lambda d: _trees(d, trees=[]), "another number of trees"),
    "names": (lambda d: d["learner"].update(feature_names=["a"]), "feature_names for another"),
    "same place": (lambda d: _tree(d).update(id=1), "two trees in one place"),
    "no learner": (lambda d: d["learner"].clear(), "isn't as XGBoost writes it"),
    "booster": (lambda d: d["learner"]["gradient_booster"].update(name="x"), "no kind of booster"),
    "category": (lambda d: _tree(d).update(categories_nodes=[0]), "categories of no node"),
    "category kinds": (_set("split_type", 0, 1), "categories of no node"),
    "category span": (
        lambda d: _tree(d).update(
            categories_nodes=[0], categories_segments=[0], categories_sizes=[1 << 40]
        ),
        "categories of no node",
    ),
}


@pytest.mark.parametrize("kind", CRAFTED)
def test_a_crafted_model_never_reaches_native_code(kind: str, tmp_path: Path) -> None:
    """What XGBoost would follow out of its arrays is found before."""
    change, says = CRAFTED[kind]
    document = _document()
    change(document)
    (tmp_path / "m.json").write_text(json.dumps(document))
    with pytest.raises(LoadError, match=says):
        load_model(tmp_path, LoadOptions())


def _twice(*names: bytes) -> bytes:
    """The children of a node by two names that are one; native code takes one, we another."""
    plain = b'"left_children":'
    changed = b"".join(b'"%s":[9,9,9],' % name for name in names) + plain
    return bytes(CLASSES.save_raw("json")).replace(plain, changed, 1)


@pytest.mark.parametrize(
    "data",
    [
        _twice(b"left_children"),
        _twice(rb"left\u005fchildren"),
        b'{"learner":{' + b'"a":{' * 100_000,
        b'{"learner":{"a":' + b"[" * 100_000,
        bytes(CLASSES.save_raw("ubj"))[:-50],
        bytes(CLASSES.save_raw("ubj")) + b"more",
        bytes(CLASSES.save_raw("json"))[:-50],
    ],
)
def test_what_is_no_whole_document_is_corrupt(data: bytes, tmp_path: Path) -> None:
    """Cut short, with something behind it, nested without end, or with a name twice."""
    (tmp_path / "m.ubj").write_bytes(data)
    with pytest.raises(LoadError, match="corrupt or cut short"):
        load_model(tmp_path, LoadOptions())


def test_what_xgboost_says_is_said_without_its_paths(tmp_path: Path) -> None:
    """An objective that there isn't."""
    document = _document()
    document["learner"]["objective"]["name"] = "no:such"
    (tmp_path / "m.json").write_text(json.dumps(document))
    with pytest.raises(LoadError, match="XGBoost can't load the model: ") as caught:
        load_model(tmp_path, LoadOptions())
    assert "no:such" in str(caught.value)
    assert "/" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_booster_in_a_gzip_isnt_taken_for_one(tmp_path: Path) -> None:
    """Only pickles are compressed; a model in a gzip is called what it is."""
    (tmp_path / "m.ubj").write_bytes(gzip.compress(bytes(CLASSES.save_raw("ubj"))))
    with pytest.raises(LoadError, match=r"m\.ubj isn't a model: it is gzip-compressed data"):
        load_model(tmp_path, LoadOptions())
