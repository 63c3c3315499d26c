from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mms.demo.check import difference
from mms.demo.sample import Sample

LEAVES = st.one_of(
    st.integers(-(10**6), 10**6), st.floats(allow_infinity=False), st.text(max_size=5)
)
ANSWERS = st.lists(st.lists(LEAVES, max_size=4), max_size=4)


def _sample(
    expected: str, *, tolerance: float = 0.0, content_type: str = "application/json"
) -> Sample:
    return Sample(
        target="a.joblib",
        data="d",
        model="M",
        format="joblib",
        content_type=content_type,
        body="",
        expected=expected,
        tolerance=tolerance,
    )


@given(ANSWERS)
def test_an_answer_equals_itself(answer: list[object]) -> None:
    """What the model said is right, NaN included."""
    text = json.dumps({"predictions": answer})
    assert not difference(_sample(text), text.encode())


@pytest.mark.parametrize(
    ("expected", "got", "names"),
    [
        ('{"predictions": [1, 2]}', '{"predictions": [1, 3]}', ".predictions[1] is 3"),
        ('{"predictions": [1]}', '{"predictions": [1, 1]}', ".predictions is [1, 1]"),
        ('{"predictions": [1]}', '{"predictions": [true]}', ".predictions[0] is true"),
        ('{"predictions": [1]}', '{"predictions": ["1"]}', '.predictions[0] is "1"'),
        ('{"predictions": [1.5]}', '{"predictions": [NaN]}', ".predictions[0] is NaN"),
        ('{"predictions": [[1.5]]}', '{"predictions": [1.5]}', ".predictions[0] is 1.5"),
        ('{"predictions": [1]}', '{"outputs": [1]}', "the answer is"),
        ('{"predictions": ["a"]}', '{"predictions": ["b"]}', ".predictions[0]"),
        ('{"predictions": [0.1]}', "oops", "isn't application/json"),
    ],
)
def test_what_differs_is_named(expected: str, got: str, names: str) -> None:
    """A wrong value, type, shape or key is a difference, and the message says where."""
    assert names in difference(_sample(expected), got.encode())


def test_zero_tolerance_means_the_same_bits() -> None:
    """The next number up is another number, unless a tolerance says otherwise."""
    value = 0.1
    text, other = json.dumps([value]), json.dumps([math.nextafter(value, 1)]).encode()
    assert difference(_sample(text), other)
    assert not difference(_sample(text, tolerance=1e-9), other)


def test_the_tolerance_is_relative_and_for_floats_only() -> None:
    """1e-5 lets float32's last digit differ, not its fourth; labels never differ."""
    sample = _sample("[1000.0, 7]", tolerance=1e-5)
    assert not difference(sample, b"[1000.001, 7]")
    assert difference(sample, b"[1000.1, 7]")
    assert difference(sample, b"[1000.0, 8]")


def test_csv_is_compared_by_cell() -> None:
    """Digits count as numbers, words as words, and every row and cell has to be there."""
    sample = _sample("1,0.5,red\n2,0.25,blue\n", content_type="text/csv")
    assert not difference(sample, b"1,0.50,red\r\n2,2.5e-1,blue\r\n")
    assert "[1][2]" in difference(sample, b"1,0.5,red\n2,0.25,green\n")
    assert difference(sample, b"1,0.5,red\n")
    assert difference(sample, b"\xff\xfe")
