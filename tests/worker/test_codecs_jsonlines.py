"""JSON Lines: lines in, lines out, and which line is wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loaders.base import Array, Form, InputError, Outputs, Payload
from mms.media import JSON_LINES, Spec
from mms.worker.codecs import decode, encode

SPEC = Spec(content_type=JSON_LINES, accept=JSON_LINES)


def write(*, single: bool = True, batched: bool = True, **arrays: Array) -> str:
    outputs = Outputs(arrays=dict(arrays), single=single, batched=batched)
    content_type, body = encode(outputs, "instances", SPEC)
    assert content_type == b"application/jsonlines"
    return body.decode()


@pytest.mark.parametrize(
    ("body", "rows"),
    [
        ("[1, 2.5]\n[3, null]\n", [[1, 2.5], [3, None]]),
        ('{"a": 1}\n{"a": "x"}', [{"a": 1}, {"a": "x"}]),
        ('{"features": [1, 2]}\r\n{"features": [3, 4]}\r\n', [[1, 2], [3, 4]]),
        ('{"data": {"features": {"values": [1, 2]}}}', [[1, 2]]),
        ("1\n2\n3\n4", [[1], [2], [3], [4]]),
        ('"a text"\n\n \t\r\n"another"\n', [["a text"], ["another"]]),
        ('["a\u2028b\u0085c"]\n["NaN"]\n[NaN]', [["a\u2028b\u0085c"], ["NaN"], [float("nan")]]),
        ("\ufeff[1]", [[1]]),
    ],
)
def test_a_line_is_a_row(body: str, rows: list[object]) -> None:
    """Whatever it holds: lines of bare values are never one row."""
    payload = decode(body.encode(), SPEC)
    assert repr(payload) == repr(Payload(form="instances", rows=rows))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", "the body is empty"),
        (" \n\t\r\n", "the body is empty"),
        ("[1]\n\n[2\n[3]", "line 3 of the body is not JSON: Expecting ',' delimiter at column 3"),
        ("[1],\n[2]", "line 1 of the body is not JSON: Extra data at column 4"),
        ("[1] [2]", "line 1 of the body is not JSON: Extra data at column 5"),
        ("[1\n,2]", "line 1 of the body is not JSON"),
        ("[1]\n" + "[" * 200_000, "line 2 of the body is nested too deep"),
        ("[1]\n[" + "1" * 5000 + "]", "line 2 of the body holds a number of more than"),
        ('[1]\n{"a": 1}', "row 1 is an object, row 0 is an array"),
        ('{"features": [1]}\n{"features": 1}', 'row 1 has no array of values under "features"'),
        (b"[1]\n\xff", "the body is not utf-8"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(body: str | bytes, said: str) -> None:
    with pytest.raises(InputError) as caught:
        decode(body if isinstance(body, bytes) else body.encode(), SPEC)
    assert str(caught.value).startswith(said)


def test_a_prediction_is_a_line() -> None:
    """Arrays and objects too; what has no rows is one line."""
    assert write(y=np.array([1, 2])) == "1\n2\n"
    assert write(y=np.array([[0.5, np.nan], [1, np.inf]])) == "[0.5,NaN]\n[1.0,Infinity]\n"
    lines = write(single=False, label=np.array(["a", "b"]), p=np.array([1.5, 2.5]))
    assert lines == '{"label":"a","p":1.5}\n{"label":"b","p":2.5}\n'
    assert write(batched=False, y=np.array(3.0)) == "3.0\n"
    assert write(single=False, batched=False, a=np.array([1]), b=np.array(2)) == '{"a":[1],"b":2}\n'


@pytest.mark.parametrize("form", ["instances", "rows", "inputs", "csv"])
def test_whatever_was_asked_in_is_answered_in_lines(form: Form) -> None:
    outputs = Outputs(arrays={"y": np.array([1, 2])})
    assert encode(outputs, form, SPEC)[1] == b"1\n2\n"


@given(st.lists(st.text(st.characters()), min_size=1))
@settings(max_examples=50)
def test_no_text_breaks_a_line(texts: list[str]) -> None:
    """For no reader, whatever it takes for an end of line."""
    written = write(y=np.array([*texts, ""], dtype=object))
    assert [json.loads(line) for line in written.splitlines()] == [*texts, ""]
