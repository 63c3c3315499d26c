"""Casting to a tensor never changes a value in silence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loaders.base import InputError, TensorSpec
from loaders.rows.tensors import tensor


def _spec(dtype: str, *shape: int | None) -> TensorSpec:
    return TensorSpec(name="x", dtype=dtype, shape=shape)


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        ([[1, 2]], "float32", [[1.0, 2.0]]),
        ([[1.5, None]], "float64", [[1.5, float("nan")]]),
        ([[1.0, 2.0]], "int64", [[1, 2]]),
        ([[True, False]], "int32", [[1, 0]]),
        ([[1, 0]], "bool", [[True, False]]),
        ([[1.0, 0.0]], "bool", [[True, False]]),
        ([[255, 0]], "uint8", [[255, 0]]),
        ([[2**64 - 1, 0]], "uint64", [[2**64 - 1, 0]]),
        ([[-(2**63), 2**63 - 1]], "int64", [[-(2**63), 2**63 - 1]]),
        ([[float("inf"), -1.0]], "float32", [[float("inf"), -1.0]]),
        ([["a", "é"]], "str", [["a", "é"]]),
        (np.array([[1, 2]], np.int16), "float32", [[1.0, 2.0]]),
    ],
)
def test_values_arrive_as_they_are(value: Any, dtype: str, expected: Any) -> None:
    """What fits is cast, exactly."""
    array = tensor(value, _spec(dtype, None, 2))
    assert array.dtype == (object if dtype == "str" else dtype)
    assert np.array_equal(array, np.array(expected, array.dtype), equal_nan=dtype == "float64")


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        ([[1, 2.5]], "int64", r"row 0, column 1: 2\.5 isn't a whole number"),
        ([[1, 2], [float("nan"), 1]], "int64", "row 1, column 0: nan isn't a whole number"),
        ([[None, 1]], "int64", "isn't a whole number"),
        ([[1, 300]], "uint8", "row 0, column 1: 300 doesn't fit uint8"),
        ([[1, -1]], "uint64", "-1 doesn't fit uint64"),
        ([[1e19, 1.0]], "int64", r"1e\+19 doesn't fit int64"),
        ([[2**63, 1]], "int64", "doesn't fit int64"),
        ([[2, 1]], "bool", "row 0, column 0: 2 isn't true or false"),
        ([[1, 1e300]], "float32", r"row 0, column 1: 1e\+300 is too large for float32"),
        ([[1, 70000.0]], "float16", "too large for float16"),
        ([[1, "2"]], "float32", "row 0, column 0: '1'|row 0, column 1: '2' isn't a number"),
        ([["x", None]], "float32", "row 0, column 0: 'x' isn't a number"),
        ([[1, 10**400]], "float64", "row 0, column 1: the integer is too large"),
        ([[1, 2]], "str", "row 0, column 0: 1 isn't text"),
        ([[1, {}]], "float32", "row 0, column 1: an object where one value is needed|number"),
        ([[1, 2], [3]], "float32", "row 1: 1 values, but the first has 2"),
        ([[1, 2], [3, [4]]], "float32", "row 1, column 1: an array where one value is needed"),
        ([[1, 2], 3], "float32", "row 1: 3 where an array is needed"),
        ([[1, 2, 3]], "float32", "row 0 has 3 values, but the model has 2 columns"),
        ([1, 2], "float32", r"the shape is \[2\], but the model takes \[any, 2\]"),
        ([], "float32", "there are no values"),
        ([[]], "float32", "there are no values"),
        (np.zeros((1, 2), complex), "float32", "aren't numbers"),
    ],
)
def test_what_doesnt_fit_is_located(value: Any, dtype: str, message: str) -> None:
    """Fractions, ranges, text, raggedness and shapes are refused where they are."""
    with pytest.raises(InputError, match=message):
        tensor(value, _spec(dtype, None, 2))


def test_cells_of_higher_tensors_are_located_too() -> None:
    """Beyond two axes the place is an index."""
    value: Any = np.zeros((1, 2, 2)).tolist()
    value[0][1][0] = "x"
    with pytest.raises(InputError, match=r"row 0, at \[1, 0\]: 'x' isn't a number"):
        tensor(value, _spec("float32", None, 2, 2))
    assert tensor(16000, _spec("int64")).shape == ()


_CELL = st.none() | st.booleans() | st.integers() | st.floats() | st.text("a1", max_size=2)
_ANY = st.recursive(
    _CELL | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.just("k"), inner, max_size=1),
    max_leaves=8,
)
_DTYPES = ["float32", "float64", "float16", "int64", "uint64", "int8", "bool", "str"]


@given(_ANY, st.sampled_from(_DTYPES), st.sampled_from([(), (None,), (None, 2), (2, None, 1)]))
def test_anything_is_a_tensor_or_an_input_error(
    value: Any, dtype: str, shape: tuple[int | None, ...]
) -> None:
    """Whatever JSON can hold never crashes a worker, and what is kept is equal."""
    try:
        array = tensor(value, _spec(dtype, *shape))
    except InputError:
        return
    assert array.ndim == len(shape) or not shape
    if dtype in {"int64", "uint64", "int8", "bool", "str"}:
        assert np.array(array.tolist(), object).ravel().tolist() == _leaves(value)


def _leaves(value: Any) -> list[Any]:
    return [leaf for v in value for leaf in _leaves(v)] if isinstance(value, list) else [value]


TEXTS = TensorSpec(name="x", dtype="str", shape=(None, 2))


def test_half_a_surrogate_pair_is_the_callers_fault() -> None:
    """ONNX Runtime takes UTF-8, which has no such thing: 400, not 500."""
    with pytest.raises(InputError, match="row 0, column 1: the text holds half"):
        tensor([["é", "\ud800"]], TEXTS)


def test_any_other_text_passes() -> None:
    """A whole pair is one character."""
    assert tensor([["\U0001f600", "é"]], TEXTS).tolist() == [["\U0001f600", "é"]]
