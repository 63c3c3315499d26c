"""Columns keep what was sent, and say which row doesn't fit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loaders.rows.cells import CellError, column, csv_column, is_number, shown


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([1, 2], "int64", [1, 2]),
        ([1.5, 2.0], "float64", [1.5, 2.0]),
        ([1, 2.5], "float64", [1.0, 2.5]),
        ([True, False], "bool", [True, False]),
        ([True, 2], "int64", [1, 2]),
        ([True, 0.5], "float64", [1.0, 0.5]),
        ([1, None], "float64", [1.0, math.nan]),
        ([None, None], "float64", [math.nan, math.nan]),
        ([2**63], "float64", [2.0**63]),
        ([-(2**63), 2**63 - 1], "int64", [-(2**63), 2**63 - 1]),
        (["a", "b"], "object", ["a", "b"]),
        (["a", None], "object", ["a", None]),
        (["a", 1], "object", ["a", 1]),
    ],
)
def test_a_column_keeps_its_kind(values: list[Any], dtype: str, expected: list[Any]) -> None:
    """Whole numbers stay whole, null among numbers is NaN, text stays text."""
    array = column(values, numeric=False)
    assert array.dtype == dtype
    assert repr(array.tolist()) == repr(expected)


@pytest.mark.parametrize(
    ("values", "row", "problem"),
    [
        ([1, "x"], 1, "'x' isn't a number"),
        ([1.0, 2.0, [3]], 2, "an array where one value is needed"),
        ([{}], 0, "an object where one value is needed"),
        ([1, 10**400], 1, "too large"),
        ([0.5, 10**400], 1, "too large"),
    ],
)
def test_what_doesnt_fit_is_located(values: list[Any], row: int, problem: str) -> None:
    """The row counts from 0."""
    with pytest.raises(CellError, match=problem) as caught:
        column(values, numeric=True)
    assert caught.value.row == row


@pytest.mark.parametrize(
    ("cells", "dtype", "expected"),
    [
        (["1", "-2"], "int64", [1, -2]),
        (["1", "2.5"], "float64", [1.0, 2.5]),
        (["1", ""], "float64", [1.0, math.nan]),
        (["1e3", "NaN"], "float64", [1000.0, math.nan]),
        (["99999999999999999999"], "float64", [1e20]),
        (["a", ""], "object", ["a", None]),
        (["1_000", "2"], "object", ["1_000", "2"]),
    ],
)
def test_csv_cells_become_the_narrowest_kind(
    cells: list[str], dtype: str, expected: list[Any]
) -> None:
    """Whole numbers, else numbers, else text; an empty cell is missing."""
    array = csv_column(cells, numeric=False)
    assert array.dtype == dtype
    assert repr(array.tolist()) == repr(expected)


def test_a_csv_cell_that_isnt_a_number_is_located() -> None:
    """Where the model needs numbers, text is refused by name."""
    with pytest.raises(CellError, match="'1_0' isn't a number") as caught:
        csv_column(["1", "", "1_0"], numeric=True)
    assert caught.value.row == 2
    assert csv_column(["9" * 400], numeric=True).tolist() == [math.inf]


def test_values_are_shown_short() -> None:
    """No message repeats a document, or what a terminal would act on."""
    assert shown("x" * 100) == "'" + "x" * 37 + "'..."
    assert shown("a\x1b[1mé\n") == r"'a\x1b[1m\xe9\n'"
    assert (shown(None), shown(True), shown([1]), shown({})) == (
        "null",
        "true",
        "an array",
        "an object",
    )
    assert shown(10**5000) == "an integer"


_CELL = st.none() | st.booleans() | st.integers() | st.floats() | st.text("a1é\0", max_size=3)


@given(st.lists(_CELL | st.lists(_CELL, max_size=1) | st.just(10**400), min_size=1), st.booleans())
def test_any_column_is_an_array_or_a_cell_error(values: list[Any], numeric: bool) -> None:
    """Whatever JSON can hold; and numbers come back as the numbers they were."""
    try:
        array = column(values, numeric=numeric)
    except CellError as error:  # the property allows it
        assert 0 <= error.row < len(values)  # noqa: PT017 - may be raised, needn't
        return
    assert len(array) == len(values)
    for sent, kept in zip(values, array.tolist(), strict=True):
        if sent is not None and not (isinstance(sent, float) and math.isnan(sent)):
            assert kept == (float(sent) if isinstance(kept, float) else sent)


@given(st.lists(st.text("1.-eE+_ naif٣", max_size=6), min_size=1), st.booleans())
def test_any_csv_column_is_an_array_or_a_cell_error(cells: list[str], numeric: bool) -> None:
    """Cells of every shape, none a crash."""
    try:
        array = csv_column(cells, numeric=numeric)
    except CellError as error:
        refused = cells[error.row]
        assert not is_number(refused) or len(refused) > 300
        return
    assert len(array) == len(cells)
    assert array.dtype.kind in ("if" if numeric else "ifO")
    assert isinstance(array, np.ndarray)
