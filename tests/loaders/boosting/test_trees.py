"""What the loaders of boosted trees share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loaders.base import InputError, LoadError, LoadOptions
from loaders.boosting.catboost import CatBoostLoader
from loaders.boosting.categories import Codes, Matrix, matrix_columns
from loaders.boosting.lightgbm import LightGbmLoader
from loaders.boosting.trees import MAX_BYTES, BoostingModel, Ensemble, column_names, is_tree, option
from loaders.boosting.xgboost import XGBoostLoader
from loaders.rows.columns import fit_rows
from tests.loaders.support import csv, rows

PLAIN = matrix_columns(None, 2, {})


def _model(call: object, **options: object) -> BoostingModel:
    matrix = Matrix(PLAIN)
    calls = {"predict": call, "other": call}
    ensemble = Ensemble("f", PLAIN, matrix.ready, calls, matrix.cell)  # type: ignore[arg-type]
    return BoostingModel(ensemble, LoadOptions(**options))  # type: ignore[arg-type]


def test_rows_that_agree_may_run_together() -> None:
    """It is tried, to the last bit; the manifest's word stands above it."""
    assert _model(lambda values: values.sum(axis=1)).batchable
    assert not _model(lambda values: values.sum(axis=1) / len(values)).batchable
    assert not _model(lambda values: values.sum()).batchable
    assert not _model(lambda _: 1 / 0).batchable
    assert not _model(lambda values: values.sum(axis=1), batchable=False).batchable
    assert _model(lambda values: values.sum(), batchable=True).batchable


def test_an_answer_without_rows_says_so() -> None:
    """It can't be split."""
    model = _model(lambda _: np.float64(1.0))
    assert not model.run("predict", model.prepare(rows([1.0, 2.0]))).batched


def test_the_manifest_chooses_the_method() -> None:
    """The chosen one comes first; one that isn't there is refused."""
    assert _model(lambda v: v, method="other").methods == ("other", "predict")
    with pytest.raises(LoadError, match="has no method 'nope', it has predict, other"):
        _model(lambda v: v, method="nope")


def test_whole_and_broken_numbers_become_one_kind() -> None:
    """Requests run together however they wrote their numbers."""
    model = _model(lambda v: v)
    batches = [model.prepare(p) for p in (rows([1, 2]), rows([1.0, 2]), csv("1,2"))]
    assert len({b.key for b in batches}) == 1
    assert batches[0].arrays[""].dtype == np.float64


@pytest.mark.parametrize(
    ("left", "right", "count", "ok"),
    [
        ([1], [2], 3, True),
        ([3, 1], [4, 2], 5, True),  # children before their parents, as pruning leaves them
        ([], [], 1, True),
        ([1], [1], 3, False),
        ([1, 0], [2, 3], 4, False),
        ([1], [3], 3, False),
        ([-1], [2], 3, False),
        ([1, 2, 1], [3, 4, 5], 6, False),
    ],
)
def test_a_tree_is_told_from_a_graph(
    left: list[int], right: list[int], count: int, ok: bool
) -> None:
    """No node is a child twice, none is the root's parent, all are there."""
    assert is_tree(np.array(left), np.array(right), count) is ok


def test_names_are_used_where_they_say_something() -> None:
    """Numbers in order are no names; odd ones are refused."""
    assert column_names(["a", "b"], 2) == ("a", "b")
    assert column_names(["0", "1"], 2) is None
    assert column_names(None, 3) is None
    for names, count in ((["a"], 2), (["a", "a"], 2), (None, 1 << 30)):
        with pytest.raises(LoadError, match="corrupt"):
            column_names(names, count)


def test_options_are_checked() -> None:
    """An unknown option or value is named."""
    assert option(LoadOptions(), "output", ("value", "leaf")) == "value"
    assert option(LoadOptions(options={"output": "leaf"}), "output", ("value", "leaf")) == "leaf"
    for options in ({"output": "tree"}, {"output": 1}, {"output": ["leaf"]}):
        with pytest.raises(LoadError, match="option 'output' must be one of value, leaf"):
            option(LoadOptions(options=options), "output", ("value", "leaf"))
    with pytest.raises(LoadError, match="has no option 'outptu'"):
        option(LoadOptions(options={"outptu": "leaf"}), "output", ("value", "leaf"))


CITIES = matrix_columns(("city", "size", "x"), 3, {0: ["Berlin", "Tokyo"], 1: [10, 20]})
CODES: Codes = {0: {"Berlin": 0, "Tokyo": 1}, 1: {10: 0, 20: 1}}


def test_categories_become_codes() -> None:
    """Texts and whole numbers by value, in every form; none is a missing value."""
    matrix = Matrix(CITIES, CODES)
    wanted = np.array([[1, 0, 0.5], [np.nan, 1, 2]])
    for payload in (
        rows(["Tokyo", 10, 0.5], [None, 20, 2]),
        rows({"size": 10, "x": 0.5, "city": "Tokyo"}, {"size": 20, "x": 2, "city": None}),
        csv("city,size,x", "Tokyo,10,0.5", ",20,2", header=True),
    ):
        ready = matrix.ready(fit_rows(payload, CITIES)).arrays[""]
        assert np.array_equal(ready, wanted, equal_nan=True)


def test_a_text_column_of_csv_keeps_its_texts() -> None:
    """A category that looks like a number is the text it is."""
    columns = matrix_columns(None, 2, {0: ["007", "7"]})
    matrix = Matrix(columns, {0: {"007": 0, "7": 1}})
    assert matrix.ready(fit_rows(csv("007,1", "7,1"), columns)).arrays[""][:, 0].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ([5, 10, 1.0], r"row 0, column 'city' \(0\): 5 where one of the model's texts"),
        (["Tokyo", "ten", 1.0], r"row 0, column 'size' \(1\): 'ten' isn't a number"),
        (["Paris", 10, 1.0], r"row 0, column 'city' \(0\): 'Paris' is a category that the model"),
        (["Tokyo", 11, 1.0], r"row 0, column 'size' \(1\): 11 is a category that the model"),
    ],
)
def test_a_category_that_doesnt_fit_is_named(row: list[object], says: str) -> None:
    """With its row and column."""
    with pytest.raises(InputError, match=says):
        Matrix(CITIES, CODES, refuses_unknown=True).ready(fit_rows(rows(row), CITIES))


def test_an_unknown_category_may_be_a_missing_value() -> None:
    """As LightGBM has it."""
    ready = Matrix(CITIES, CODES).ready(fit_rows(rows(["Paris", 11, 1.0]), CITIES))
    assert np.isnan(ready.arrays[""][0, :2]).all()


@pytest.mark.parametrize(
    ("loader", "name"),
    [(XGBoostLoader, "XGBoost"), (LightGbmLoader, "LightGBM"), (CatBoostLoader, "CatBoost")],
)
def test_what_is_too_large_is_refused_unread(tmp_path: Path, loader: Any, name: str) -> None:
    """Not a byte of it is read: the file is all holes."""
    path = tmp_path / "m"
    path.touch()
    os.truncate(path, MAX_BYTES + 1)
    with pytest.raises(LoadError, match=f"an? {name} model of more than 2 GiB isn't loaded"):
        loader().load(path, LoadOptions())
