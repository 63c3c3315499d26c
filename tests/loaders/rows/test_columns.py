"""Requests fitted to a model's columns: every form, and every way to be wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loaders.base import Batch, Form, InputError, Payload
from loaders.rows.columns import Columns, fit_rows
from tests.loaders.support import csv, rows

PLAIN = Columns(names=None, count=3, numeric=None, uniform=True)
NAMED = Columns(names=("age", "city"), count=2, numeric=frozenset({0}), uniform=False)
NUMBERS = Columns(names=("a", "b"), count=2, numeric=None, uniform=True)
ONE = Columns(names=None, count=1, numeric=None, uniform=True)
FREE = Columns(names=None, count=None, numeric=frozenset(), uniform=False)


def _flat(*values: Any) -> Payload:
    return Payload(form="rows", rows=list(values), flat=True)


def _inputs(**tensors: Any) -> Payload:
    return Payload(form="inputs", tensors=tensors)


def _shape(batch: Batch) -> Any:
    return {n: (a.dtype.name, a.tolist()) for n, a in batch.arrays.items()}


@pytest.mark.parametrize(
    ("columns", "payload", "expected"),
    [
        (PLAIN, rows([1, 2, 3]), {"": ("int64", [[1, 2, 3]])}),
        (PLAIN, rows([1.0, 2.0, 3.5]), {"": ("float64", [[1.0, 2.0, 3.5]])}),
        (PLAIN, rows([1, 2.5, 3]), {"": ("float64", [[1.0, 2.5, 3.0]])}),
        (PLAIN, rows([True, False, True]), {"": ("bool", [[True, False, True]])}),
        (PLAIN, _flat(1, 2, 3), {"": ("int64", [[1, 2, 3]])}),
        (PLAIN, _inputs(x=[[1, 2, 3]]), {"": ("int64", [[1, 2, 3]])}),
        (PLAIN, _inputs(x=[1, 2, 3]), {"": ("int64", [[1, 2, 3]])}),
        (PLAIN, csv("1,2,3"), {"": ("int64", [[1, 2, 3]])}),
        (PLAIN, csv("1,2.5,3"), {"": ("float64", [[1.0, 2.5, 3.0]])}),
        (PLAIN, csv("x,y,z", "1,2,3"), {"": ("int64", [[1, 2, 3]])}),
        (PLAIN, csv("x,y,z", "1,2,3", header=True), {"": ("int64", [[1, 2, 3]])}),
        (ONE, _flat(1, 2, 3), {"": ("int64", [[1], [2], [3]])}),
        (ONE, csv("1", "2"), {"": ("int64", [[1], [2]])}),
        (FREE, rows(["a", 1]), {"": ("object", [["a", 1]])}),
        (NAMED, rows([1, "x"]), {"age": ("int64", [1]), "city": ("object", ["x"])}),
        (NAMED, rows({"city": "x", "age": 1}), {"age": ("int64", [1]), "city": ("object", ["x"])}),
        (NAMED, csv("1,x"), {"age": ("int64", [1]), "city": ("object", ["x"])}),
        (NAMED, csv("city,age", "x,1"), {"age": ("int64", [1]), "city": ("object", ["x"])}),
        (
            NAMED,
            csv("city,age", "x,1", header=True),
            {"age": ("int64", [1]), "city": ("object", ["x"])},
        ),
        (
            NAMED,
            _inputs(age=[1], city=["x"]),
            {"age": ("int64", [1]), "city": ("object", ["x"])},
        ),
        (NUMBERS, rows([1, 2.5]), {"": ("float64", [[1.0, 2.5]])}),
        (NUMBERS, rows({"b": 2, "a": 1}), {"": ("int64", [[1, 2]])}),
        (NUMBERS, _inputs(a=[[1], [3]], b=[[2], [4]]), {"": ("int64", [[1, 2], [3, 4]])}),
        (NUMBERS, csv("a,b"[::-1], "2,1"), {"": ("int64", [[1, 2]])}),
    ],
)
def test_every_form_comes_to_the_same(
    columns: Columns, payload: Payload, expected: dict[str, Any]
) -> None:
    """Values, kinds and order are kept; one array where one will do."""
    assert _shape(fit_rows(payload, columns)) == expected


@pytest.mark.parametrize(
    ("columns", "payload", "message"),
    [
        (PLAIN, rows(), "no rows"),
        (PLAIN, rows([1, 2]), "row 0 has 2 values, but the model has 3 columns"),
        (PLAIN, rows([1, 2, 3], [1, 2]), "row 1 has 2 values, but the model has 3 columns"),
        (PLAIN, rows([1, 2, "x"]), "row 0, column 2: 'x' isn't a number"),
        (PLAIN, rows([1, 2, 3], [1, [2], 3]), "row 1, column 1: an array where one value"),
        (PLAIN, rows({"a": 1}), "row 0 is an object, but the model's columns have no names"),
        (PLAIN, rows([1, 2, 3], 4), "row 1 is 4, not an array of values"),
        (PLAIN, rows([1, 10**400, 0.5]), "row 0, column 1: the integer is too large"),
        (PLAIN, _flat(1, 2), "an array of 2 values, but the model has 3 columns"),
        (PLAIN, _inputs(x=[], y=[]), "must hold one table, got 2 names"),
        (PLAIN, _inputs(x=3), "no rows"),
        (PLAIN, csv("1,2,z"), "row 0, column 2: 'z' isn't a number"),
        (PLAIN, csv("1,2"), "row 0 has 2 values"),
        (PLAIN, csv("a,b,c"), "no rows"),
        (PLAIN, csv("a,b,c", header=False), "row 0, column 0: 'a' isn't a number"),
        (NAMED, rows({"age": 1}), "row 0: column 'city' is missing"),
        (NAMED, rows({"age": 1, "city": "x", "y": 1}), "row 0: the model has no column 'y'"),
        (NAMED, rows({"age": 1, "city": "x"}, [1, "x"]), "row 1 is an array, but row 0 is an obj"),
        (NAMED, rows([1, "x"], {"age": 1, "city": "x"}), "row 1 is an object, but row 0 is an arr"),
        (NAMED, rows(["z", "x"]), r"row 0, column 'age' \(0\): 'z' isn't a number"),
        (NAMED, csv("age,town", "1,x", header=True), "column 'town', which the model doesn't have"),
        (NAMED, csv("age,age", "1,x", header=True), "lacks the model's column 'city'"),
        (NAMED, csv("a,b,c", "1,x,y", header=True), "row 0 has 3 values"),
        (NAMED, _inputs(age=[1]), "column 'city' is missing"),
        (NAMED, _inputs(age=[1, 2], city=["x"]), r"column 'city' \(1\) has 1 values, but column"),
        (NAMED, _inputs(age=1, city=["x"]), "not an array of values"),
        (NAMED, _inputs(age=[], city=[]), "no rows"),
        (FREE, rows([]), "row 0 is empty"),
        (FREE, rows([1], [1, 2]), "row 1 has 2 values, but row 0 has 1 columns"),
    ],
)
def test_what_is_wrong_is_named(columns: Columns, payload: Payload, message: str) -> None:
    """Row and column count from 0; a named column is called by its name."""
    with pytest.raises(InputError, match=message):
        fit_rows(payload, columns)


def test_kinds_of_columns_stay_apart_where_they_matter() -> None:
    """A whole-number column beside a broken one isn't turned into floats for an encoder."""
    batch = fit_rows(rows([1, 2.5], [3, 4.5]), NAMED)
    assert batch.arrays["age"].dtype == np.int64


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("a1,", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["age", "city", "a", ""]), inner, max_size=3)
    ),
    max_leaves=6,
)
_FORMS: list[Form] = ["instances", "inputs", "rows"]


@given(
    form=st.sampled_from(_FORMS),
    values=st.lists(_ANY, max_size=4),
    tensors=st.dictionaries(st.sampled_from(["age", "city", "x", ""]), _ANY, max_size=3),
    flat=st.booleans(),
    columns=st.sampled_from([PLAIN, NAMED, NUMBERS, ONE, FREE]),
)
def test_any_payload_is_a_batch_or_an_input_error(
    form: Form, values: list[Any], tensors: dict[str, Any], flat: bool, columns: Columns
) -> None:
    """Whatever JSON can hold never crashes a worker."""
    payload = Payload(form=form, rows=values, tensors=tensors, flat=flat)
    try:
        batch = fit_rows(payload, columns)
    except InputError:
        return
    assert batch.rows > 0
    assert all(len(a) == batch.rows for a in batch.arrays.values())


@given(
    st.lists(
        st.lists(st.text("1.x-_ ", max_size=3), min_size=1, max_size=3), min_size=1, max_size=4
    ),
    st.booleans(),
    st.sampled_from([PLAIN, NAMED, NUMBERS, ONE, FREE]),
)
def test_any_csv_is_a_batch_or_an_input_error(
    cells: list[list[str]], declared: bool, columns: Columns
) -> None:
    """Ragged, empty and odd cells never crash a worker."""
    header = cells[0] if declared else None
    payload = Payload(form="csv", rows=cells[declared:], header=header, maybe_header=not declared)
    try:
        batch = fit_rows(payload, columns)
    except InputError:
        return
    assert batch.rows > 0
