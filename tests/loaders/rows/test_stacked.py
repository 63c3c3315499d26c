"""Stacking is only a quicker way: it gives what preparing each request would, or nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loaders.base import Batch, InputError, Payload, TensorSpec, concatenate
from loaders.rows.columns import Columns, fit_rows
from loaders.rows.feeds import Feeds
from loaders.rows.stacked import stack_rows, stack_tensors

NAMES = ("a", "b")
FLOATS = st.floats(allow_nan=True, allow_infinity=True)
CELLS = st.one_of(
    FLOATS,
    st.integers(-3, 3),
    st.integers(-(2**70), 2**70),
    st.booleans(),
    st.none(),
    st.sampled_from(["x", "1", ""]),
    st.just([1.0]),
)


def rows_of(cells: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    row = st.lists(cells, min_size=1, max_size=3)
    two = st.lists(cells, min_size=2, max_size=2)
    named = st.fixed_dictionaries({"b": cells, "a": cells})
    return st.one_of(
        st.lists(two, min_size=1, max_size=3),
        st.lists(named, min_size=1, max_size=3),
        st.lists(row, min_size=1, max_size=3),
    )


REQUESTS = st.one_of(
    *(
        st.lists(rows_of(cells), min_size=1, max_size=4)
        for cells in (FLOATS, st.integers(-3, 3), st.one_of(FLOATS, st.integers(-9, 9)), CELLS)
    )
)
COLUMNS = st.builds(
    Columns,
    names=st.sampled_from([None, NAMES]),
    count=st.just(2),
    numeric=st.sampled_from([None, frozenset({0}), frozenset[int]()]),
    uniform=st.booleans(),
)


def joined(parts: list[Batch]) -> Batch:
    """As the worker joins them: only what has one key runs together."""
    assert len({part.key for part in parts}) == 1, "stacked, though they may not run together"
    return concatenate(parts)


def assert_same(one: Batch, other: Batch) -> None:
    assert one.rows == other.rows
    assert one.key == other.key
    assert list(one.arrays) == list(other.arrays)
    for name, array in one.arrays.items():
        if array.dtype.hasobject:
            assert repr(array.tolist()) == repr(other.arrays[name].tolist())
        else:
            assert array.tobytes() == other.arrays[name].tobytes()


@given(REQUESTS, COLUMNS)
def test_stacked_rows_are_the_prepared_ones_joined(
    requests: list[list[Any]], columns: Columns
) -> None:
    stacked = stack_rows(requests, columns)
    if stacked is not None:
        payloads = [Payload(form="instances", rows=rows) for rows in requests]
        assert_same(stacked, joined([fit_rows(payload, columns) for payload in payloads]))


@given(
    REQUESTS,
    st.sampled_from(["float32", "float64", "int64", "str"]),
    st.sampled_from([(None, 2), (None, None), (None,), (2, 2)]),
)
def test_stacked_tensors_are_the_prepared_ones_joined(
    requests: list[list[Any]], dtype: str, shape: tuple[int | None, ...]
) -> None:
    spec = TensorSpec(name="x", dtype=dtype, shape=shape)
    stacked = stack_tensors(requests, (spec,))
    if stacked is None or (shape[0] and len(requests) > 1):  # such a model is never batched
        return
    payloads = [Payload(form="instances", rows=rows) for rows in requests]
    assert_same(stacked, joined([Feeds((spec,)).fit(payload) for payload in payloads]))


@pytest.mark.parametrize(
    ("requests", "dtype"),
    [
        ([[[1.5, 2.5]], [[3.5, 4.5], [5.5, 6.5]]], np.float64),
        ([[[1, 2]], [[3, 4]]], np.int64),
        ([[{"a": 1.5, "b": 2.5}], [{"b": 4.5, "a": 3.5}]], np.float64),
    ],
    ids=["floats", "whole", "by name"],
)
def test_plain_rows_are_stacked(requests: list[list[Any]], dtype: type) -> None:
    """The quick way is taken where it is meant to be."""
    columns = Columns(names=NAMES, count=2, numeric=None, uniform=False)
    stacked = stack_rows(requests, columns)
    assert stacked is not None
    assert stacked.arrays[""].dtype == dtype


def test_kinds_that_would_part_requests_are_not_stacked() -> None:
    """Whole numbers stay whole where they are by themselves: an encoder may tell 1 from 1.0."""
    columns = Columns(names=None, count=2, numeric=None, uniform=True)
    assert stack_rows([[[1, 2]], [[1.5, 2.5]]], columns) is None
    assert stack_rows([[[1, 2.5]], [[1.5, 2]]], columns) is not None


def test_a_number_too_large_for_the_tensor_is_not_stacked() -> None:
    """Its request is to be told, not all."""
    spec = TensorSpec(name="x", dtype="float32", shape=(None, 2))
    assert stack_tensors([[[1.0, 2.0]], [[1e300, 2.0]]], (spec,)) is None
    with pytest.raises(InputError, match="too large"):
        Feeds((spec,)).fit(Payload(form="instances", rows=[[1e300, 2.0]]))
