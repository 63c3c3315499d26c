"""CSV bodies: RFC 4180 as people send it, clear refusals, and the way back."""

from __future__ import annotations

import contextlib
import csv
import io
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from loaders.base import Array, InputError, Outputs, Payload
from mms.media import CSV, Spec, headers
from mms.worker.codecs import decode, encode
from mms.worker.codecs.values import Unwritable


def spec(**params: str) -> Spec:
    return Spec(content_type=CSV, accept=CSV, params=tuple(params.items()))


def read(body: str | bytes, **params: str) -> Payload:
    return decode(body if isinstance(body, bytes) else body.encode(), spec(**params))


def write(arrays: dict[str, Array], *, batched: bool = True) -> str:
    outputs = Outputs(arrays=dict(arrays), single=len(arrays) == 1, batched=batched)
    content_type, body = encode(outputs, "csv", spec())
    assert content_type == b"text/csv; charset=utf-8"
    return body.decode()


@pytest.mark.parametrize(
    ("body", "rows"),
    [
        ("1,2,3", [["1", "2", "3"]]),
        ("1,2\n3,4\n", [["1", "2"], ["3", "4"]]),
        ("1,2\r\n3,4\r\n", [["1", "2"], ["3", "4"]]),
        ("1,2\r3,4\r", [["1", "2"], ["3", "4"]]),
        ("1,2\n\n \n\r\n", [["1", "2"]]),
        (" 1 ,\t2 \n3, 4 4 \n", [["1", "2"], ["3", "4 4"]]),
        ("1,\n,\n", [["1", ""], ["", ""]]),
        ("\ufeff1,2", [["1", "2"]]),
        ('"a","b,c"\n', [["a", "b,c"]]),
        ('"a ""b""",c\n', [['a "b"', "c"]]),
        ('"a\r\nb\n",c\r\n1,2', [["a\r\nb\n", "c"], ["1", "2"]]),
        (' " a " , b c \n', [[" a ", "b c"]]),
        ('1,""\n"",2\n', [["1", ""], ["", "2"]]),
        ('""\n', [[""]]),
        ("5'11\",x", [["5'11\"", "x"]]),
        ('"1"\r"2"\r', [["1"], ["2"]]),
        ("a\u2028b,c\x0bd", [["a\u2028b", "c\x0bd"]]),
    ],
)
def test_rows_are_read_as_cells_of_text(body: str, rows: list[list[str]]) -> None:
    assert read(body) == Payload(form="csv", rows=rows, maybe_header=True)


def test_a_header_is_what_the_content_type_says_or_the_model_decides() -> None:
    body = "a,b\n1,2\n"
    assert read(body, header="present") == Payload(form="csv", rows=[["1", "2"]], header=["a", "b"])
    assert read(body, header="absent") == Payload(form="csv", rows=[["a", "b"], ["1", "2"]])
    assert read(body).maybe_header


def test_a_declared_charset_is_used() -> None:
    assert read(b"\xe9,1", charset="latin_1").rows == [["é", "1"]]
    assert read("é,1".encode("utf-16"), charset="utf_16").rows == [["é", "1"]]


@pytest.mark.parametrize(
    ("body", "params", "said"),
    [
        ("", {}, "the body is empty"),
        ("\r\n \n", {}, "the body is empty"),
        ("a,b\n", {"header": "present"}, "only a header"),
        ("1,2\n3,4\n5\n", {}, "row 2 has 1 cells, row 0 has 2"),
        ("1,2\n\n3,4\n", {}, "row 1 has 1 cells, row 0 has 2"),
        ("a,b\n1,2\n3,4,5\n", {"header": "present"}, "row 1 has 3 cells, the header has 2"),
        ('1,2\r\n"a,b\n', {}, "opens a cell on line 2 of the body is never closed"),
        ('"', {}, "never closed"),
        ('"a"b,c', {}, "line 1 of the body has text after a cell's closing quote"),
        ('"a\nb",c\n"d"e,f', {}, "line 3 of the body has text after"),
        ("1\0,2", {}, "NUL"),
        ("1,2".encode("utf-16-le"), {}, "NUL"),
        (b"\xe9,1", {}, "byte 0 does not fit"),
    ],
)
def test_what_is_no_csv_is_an_input_error_that_says_where(
    body: str | bytes, params: dict[str, str], said: str
) -> None:
    with pytest.raises(InputError) as caught:
        read(body, **params)
    assert said in str(caught.value)


def test_a_cell_may_be_long() -> None:
    """The standard library's reader stops at 128 kB."""
    long = "x" * 1_000_000 + '""' * 1000
    assert read(f'"{long}",1').rows == [[long.replace('""', '"'), "1"]]


BODIES = st.text(alphabet='",\r\n \t\0a1é\ufeff', max_size=40)


@given(BODIES.map(str.encode) | st.binary(max_size=40), st.sampled_from(["", "present", "absent"]))
@settings(max_examples=300)
def test_any_bytes_are_a_table_or_an_input_error(body: bytes, header: str) -> None:
    try:
        payload = read(body, header=header)
    except InputError:
        return
    width = len(payload.rows[0])
    assert all(len(row) == width for row in payload.rows)
    assert all(isinstance(cell, str) for row in payload.rows for cell in row)


@given(st.sampled_from(sorted(headers._CHARSETS)), st.binary(max_size=12))
@settings(max_examples=300)
def test_every_charset_that_is_accepted_can_be_decoded(charset: str, body: bytes) -> None:
    assert "1".encode(charset).decode(charset) == "1"
    with contextlib.suppress(InputError):
        read(body, charset=charset)


CELLS = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)
TABLES = st.integers(1, 3).flatmap(
    lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1, max_size=4)
)


@given(TABLES, st.sampled_from(["\n", "\r\n", "\r"]))
def test_what_other_writers_quote_is_read_as_it_was(rows: list[list[str]], newline: str) -> None:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator=newline).writerows(rows)
    assert read(out.getvalue().encode()).rows == rows


@given(TABLES)
def test_text_is_answered_so_that_it_is_read_back(rows: list[list[str]]) -> None:
    body = write({"y": np.array(rows, dtype=object)})
    assert read(body).rows == rows
    assert list(csv.reader(io.StringIO(body, newline=""))) == rows


@given(
    st.sampled_from(["f8", "f4", "i8", "u8"]).flatmap(
        lambda dtype: hnp.arrays(dtype, st.tuples(st.integers(1, 3), st.integers(1, 3)))
    )
)
def test_numbers_are_answered_bit_for_bit(array: Array) -> None:
    rows = read(write({"y": array})).rows
    number: Any = float if array.dtype.kind == "f" else int
    again = np.array([[number(cell) for cell in row] for row in rows], dtype=array.dtype)
    np.testing.assert_array_equal(again, array)
    assert np.array_equal(np.signbit(again), np.signbit(array)) or np.isnan(array).any()


@pytest.mark.parametrize(
    ("arrays", "body"),
    [
        ({"y": np.array([1.5, math.nan, math.inf])}, "1.5\nnan\ninf\n"),
        ({"y": np.array([2**63 - 1])}, "9223372036854775807\n"),
        ({"y": np.array([[0.1, 0.9], [1, 0]])}, "0.1,0.9\n1.0,0.0\n"),
        ({"y": np.arange(8).reshape(2, 2, 2)}, "0,1,2,3\n4,5,6,7\n"),
        ({"y": np.array(["a", 'b "c", d'])}, 'a\n"b ""c"", d"\n'),
        ({"y": np.array(["", " x"])}, '""\n" x"\n'),
        ({"y": np.array([True, False])}, "True\nFalse\n"),
        ({"y": np.array([None, 1, np.float64(2), np.int8(3)], dtype=object)}, '""\n1\n2.0\n3\n'),
        ({"y": np.array([{"a": 1}], dtype=object)}, '"{""a"": 1}"\n'),
        ({"y": np.array(["2026-01-02"], dtype="M8[D]")}, "2026-01-02\n"),
        ({"label": np.array(["a", "b"]), "p": np.array([[0.5, 0.25], [1.5, 2]])},
         "a,0.5,0.25\nb,1.5,2.0\n"),
        ({"y": np.ma.masked_array([1, 2], mask=[False, True])}, '1\n""\n'),
        ({"y": np.empty((0, 2))}, ""),
    ],
)  # fmt: skip
def test_an_answer_is_one_line_per_row(arrays: dict[str, Array], body: str) -> None:
    assert write(arrays) == body


def test_outputs_that_are_no_table_say_what_to_ask_for() -> None:
    with pytest.raises(Unwritable, match="Accept: application/json"):
        write({"a": np.zeros(2), "b": np.zeros(3)}, batched=False)
    assert write({"a": np.array(7)}, batched=False) == "7\n"
