"""JSON bodies: what is understood, what is refused and how, and that numbers stay the same."""

from __future__ import annotations

import datetime as dt
import json
import math
import struct
from decimal import Decimal
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from loaders.base import Array, Form, InputError, Outputs, Payload
from mms.media import Spec
from mms.worker.codecs import decode, encode
from mms.worker.codecs import json as codec

SPEC = Spec()


def read(body: str | bytes, spec: Spec = SPEC) -> Payload:
    return decode(body if isinstance(body, bytes) else body.encode(), spec)


def write(form: Form, *, single: bool = True, batched: bool = True, **arrays: Array) -> str:
    outputs = Outputs(arrays=dict(arrays), single=single, batched=batched)
    content_type, body = encode(outputs, form, SPEC)
    assert content_type == b"application/json"
    return body.decode()


@pytest.mark.parametrize(
    ("body", "payload"),
    [
        ('{"instances": [[1, 2.5], [3, null]]}',
         Payload(form="instances", rows=[[1, 2.5], [3, None]])),
        ('{"instances": [{"a": 1, "b": "x"}]}',
         Payload(form="instances", rows=[{"a": 1, "b": "x"}])),
        ('{"instances": [5.1, 3.5]}', Payload(form="instances", rows=[5.1, 3.5], flat=True)),
        ('{"instances": [[1]], "signature_name": "serving_default", "parameters": {}}',
         Payload(form="instances", rows=[[1]])),
        ("[[1, 2], [3, 4]]", Payload(form="rows", rows=[[1, 2], [3, 4]])),
        ('[{"a": true}]', Payload(form="rows", rows=[{"a": True}])),
        ("[1, 2, 3]", Payload(form="rows", rows=[1, 2, 3], flat=True)),
        ('["some text", null]', Payload(form="rows", rows=["some text", None], flat=True)),
        ("[[[1], [2]], [[3], [4]]]", Payload(form="rows", rows=[[[1], [2]], [[3], [4]]])),
        ('{"inputs": {"x": [[1, 2]], "sr": 16000}}',
         Payload(form="inputs", tensors={"x": [[1, 2]], "sr": 16000})),
        ('{"inputs": [[1, 2]]}', Payload(form="inputs", tensors={"": [[1, 2]]})),
        (b"\xef\xbb\xbf [[1]] \r\n", Payload(form="rows", rows=[[1]])),
    ],
)  # fmt: skip
def test_the_three_forms_are_understood(body: str | bytes, payload: Payload) -> None:
    assert read(body) == payload


@pytest.mark.parametrize(
    ("row", "read_as"),
    [
        ({"features": [1.5, 16]}, [1.5, 16]),
        ({"features": {"values": [1, 2]}}, [1, 2]),
        ({"data": {"features": {"values": [1, 2]}}}, [1, 2]),
        ({"data": {"features": [1, 2]}}, [1, 2]),
        ({"features": 3}, {"features": 3}),  # a column of that name
        ({"features": [1], "b": 2}, {"features": [1], "b": 2}),
        ({"data": 1}, {"data": 1}),
        ({}, {}),
    ],
)
def test_sagemakers_features_rows_are_arrays(row: dict[str, Any], read_as: object) -> None:
    assert read(json.dumps({"instances": [row, row]})).rows == [read_as, read_as]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", "the body is empty"),
        (" \n", "the body is empty"),
        (b"\xef\xbb\xbf", "the body is empty"),
        ("{}", 'without "instances" or "inputs"'),
        ('{"a": 1}', 'send {"instances": [row, ...]}'),
        ('{"instances": [[1]], "inputs": [[1]]}', "both"),
        ('{"inputs": [[1]], "parameters": {"k": 1}}', 'has "parameters" beside "inputs"'),
        ('{"inputs": [[1]], "signature_name": "other"}', '"signature_name"'),
        ("null", "the body is null"),
        ("3", "the body is a number"),
        ("true", "the body is a boolean"),
        ('"x"', "the body is a string"),
        ("[]", "there are no rows"),
        ('{"instances": []}', "there are no rows"),
        ('{"instances": {"a": 1}}', '"instances" is an object'),
        ('{"inputs": "text"}', '"inputs" is a string'),
        ('{"inputs": {}}', '"inputs" is empty'),
        ('{"inputs": []}', '"inputs" is empty'),
        ('{"inputs": {"a": {"b": 1}}}', 'input "a" is an object'),
        ('{"inputs": {"a": null}}', 'input "a" is null'),
        ("[[1], {}]", "row 1 is an object, row 0 is an array"),
        ("[[1], [2], 3]", "row 2 is a number, row 0 is an array"),
        ('[{"a": 1}, null]', "row 1 is null, row 0 is an object"),
        ('[{"features": [1]}, {"a": 1}]', 'row 1 has no array of values under "features"'),
        ('[{"features": {"values": [1], "keys": [2], "shape": [9]}}]', "row 0 has no array"),
        ('{"instances": [[1, 2]', "line 1, column 22"),
        ("[\n[1, 2],\n[3,, 4]]", "line 3, column 4"),
        ("[[1]] x", "Extra data at line 1, column 7"),
        ("[[01]]", "not JSON"),
        ("[['a']]", "not JSON"),
        ("1,2,3", "not JSON"),
        (b"[[\xff]]", "byte 2 does not fit"),
        ("[[1]]".encode("utf-16"), "not utf-8"),
        ("[" * 100_000, "nested too deep"),
        ('{"a":' * 100_000, "nested too deep"),
        ("[[" + "9" * 5000 + "]]", "more than 4300 digits"),
        ('["\\ud8"]', "not JSON"),
        ('["\x01"]', "not JSON"),
    ],
)
def test_what_is_no_request_is_an_input_error_that_says_why(body: str | bytes, said: str) -> None:
    with pytest.raises(InputError) as caught:
        read(body)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 250


def test_a_declared_charset_is_used() -> None:
    spec = Spec(params=(("charset", "utf_16"),))
    assert read('["é"]'.encode("utf-16"), spec).rows == ["é"]
    with pytest.raises(InputError, match="utf_16"):
        read(b"[[1]]", spec)


def test_numbers_beyond_a_double_are_read_as_python_reads_them() -> None:
    rows = read("[[1e999, -Infinity, 123456789012345678901234567890, -0.0]]").rows
    assert rows == [[math.inf, -math.inf, 123456789012345678901234567890, 0.0]]
    assert math.copysign(1, rows[0][3]) == -1
    assert math.isnan(read("[NaN]").rows[0])


def test_of_equal_keys_the_last_counts() -> None:
    assert read('{"instances": [[1]], "instances": [[2]]}').rows == [[2]]


def arrays_of(dtype: Any) -> st.SearchStrategy[Array]:
    shapes = hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4)
    return hnp.arrays(dtype, shapes)


@given(st.sampled_from(["f8", "f4", "f2", "i8", "u8", "i1", "?"]).flatmap(arrays_of))
def test_numbers_are_answered_bit_for_bit(array: Array) -> None:
    """Of every width: read back as doubles or integers and cast, they are the model's own."""
    read_back = json.loads(write("rows", y=array))
    again = np.array(read_back, dtype=array.dtype).reshape(array.shape)
    same_nan = np.isnan(array) & np.isnan(again) if array.dtype.kind == "f" else False
    assert np.all((again.view(f"u{array.itemsize}") == array.view(f"u{array.itemsize}")) | same_nan)
    if array.dtype.kind != "f" or not np.isnan(array).any():
        assert read_back == array.tolist()


@given(st.lists(st.lists(st.floats(), min_size=2, max_size=2), min_size=1, max_size=5))
def test_numbers_are_read_bit_for_bit(rows: list[list[float]]) -> None:
    got = read(json.dumps({"instances": rows})).rows

    def bits(table: list[list[float]]) -> list[bytes]:
        return [b"nan" if math.isnan(x) else struct.pack(">d", x) for row in table for x in row]

    assert bits(got) == bits(rows)


@given(st.text(alphabet=st.characters()))
def test_text_is_answered_as_it_is(text: str) -> None:
    """Also half a surrogate pair, which UTF-8 has no bytes for."""
    array = np.array([text], dtype=object)
    assert json.loads(write("rows", y=array)) == [text]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["instances", "inputs", "features", "data", "values", "a"]), inner
        )
    ),
    max_leaves=12,
)


@given(JSON_VALUES)
@settings(max_examples=200)
def test_any_json_value_is_a_payload_or_an_input_error(value: object) -> None:
    try:
        payload = read(json.dumps(value))
    except InputError:
        return
    assert bool(payload.rows) != bool(payload.tensors)


@given(st.binary(max_size=30) | st.text(alphabet='[]{}",:0-e1.NaIfiny\\u \n', max_size=30))
@settings(max_examples=200)
def test_any_bytes_are_a_payload_or_an_input_error(body: bytes | str) -> None:
    try:
        payload = read(body)
    except InputError:
        return
    assert payload.rows or payload.tensors


ONE = np.array([1.5, 2.5])
TWO = np.array(["x", "y"], dtype=object)


@pytest.mark.parametrize(
    ("form", "answer"),
    [
        ("instances", '{"predictions":[1.5,2.5]}'),
        ("csv", '{"predictions":[1.5,2.5]}'),
        ("rows", "[1.5,2.5]"),
        ("inputs", '{"outputs":{"a":[1.5,2.5]}}'),
    ],
)
def test_an_answer_has_the_form_of_its_request(form: Form, answer: str) -> None:
    assert write(form, a=ONE) == answer


@pytest.mark.parametrize(
    ("form", "answer"),
    [
        ("instances", '{"predictions":[{"a":1.5,"b":"x"},{"a":2.5,"b":"y"}]}'),
        ("rows", '[{"a":1.5,"b":"x"},{"a":2.5,"b":"y"}]'),
        ("inputs", '{"outputs":{"a":[1.5,2.5],"b":["x","y"]}}'),
    ],
)
def test_several_outputs_are_objects_by_name(form: Form, answer: str) -> None:
    assert write(form, single=False, a=ONE, b=TWO) == answer


def test_outputs_that_are_not_by_row_stay_whole() -> None:
    assert write("rows", batched=False, a=np.array(3)) == "3"
    several = write("instances", single=False, batched=False, a=ONE, b=np.array([1]))
    assert several == '{"predictions":{"a":[1.5,2.5],"b":[1]}}'


@pytest.mark.parametrize(
    ("values", "answer"),
    [
        (np.array([np.nan, np.inf, -np.inf]), "[NaN,Infinity,-Infinity]"),
        (np.array([0.1], dtype="f4"), "[0.10000000149011612]"),
        (np.array([2**63 - 1]), "[9223372036854775807]"),
        (np.array([2**64 - 1], dtype="u8"), "[18446744073709551615]"),
        (np.array([10**30], dtype=object), f"[{10**30}]"),
        (np.array(["é\n", '"']), '["é\\n","\\""]'),
        (np.array([b"ab"]), '["ab"]'),
        (np.array(["2026-01-02T03:04:05"], dtype="M8[ns]"), '["2026-01-02T03:04:05.000000000"]'),
        (np.ma.masked_array([1, 2], mask=[False, True]), "[1,null]"),
        (np.array([np.float32(0.5), np.int64(3), np.True_, None], dtype=object),
         "[0.5,3,true,null]"),
        (np.array([Decimal("1.10"), dt.date(2026, 1, 2)], dtype=object), '["1.10","2026-01-02"]'),
        (np.array([{"a": np.float32(0.5)}], dtype=object), '[{"a":0.5}]'),
        (np.array([1 + 2j]), '["(1+2j)"]'),
    ],
)  # fmt: skip
def test_values_are_written_without_loss(values: Array, answer: str) -> None:
    assert write("rows", y=values) == answer


def test_a_value_that_has_no_text_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="answered with a object, which can't be written"):
        write("rows", y=np.array([object()], dtype=object))


@pytest.mark.parametrize("has_orjson", [True, False], ids=["orjson", "without"])
@given(
    document=st.recursive(
        st.one_of(
            st.floats(),
            st.integers(-(2**80), 2**80),
            st.text(max_size=3),
            st.booleans(),
            st.none(),
        ),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=2), inner, max_size=2)
        ),
    )
)
def test_the_quick_reader_reads_as_the_thorough_one(*, has_orjson: bool, document: Any) -> None:
    """Rows are the same, or none: then the thorough one is asked."""
    body = json.dumps({"instances": document}).encode()
    with mock.patch.object(codec, "_quick", codec._quick if has_orjson else None):
        rows = codec.plain_rows(body)
    wanted = json.loads(body)["instances"]
    if rows:
        assert repr(_numbers_as_taken(rows)) == repr(_numbers_as_taken(wanted))
    elif isinstance(wanted, list) and wanted and not has_orjson:
        pytest.fail("plain rows were left to the thorough reader")


def _numbers_as_taken(value: Any) -> Any:
    """Integers beyond 64 bits as floats: no model has a column that could hold them."""
    if isinstance(value, dict):
        return {name: _numbers_as_taken(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_numbers_as_taken(part) for part in value]
    is_huge = type(value) is int and not -(2**63) <= value < 2**64
    return float(value) if is_huge else value
