"""UBJSON is read as XGBoost writes it, and nothing is allocated that isn't there."""

from __future__ import annotations

import contextlib
import json
import struct

import numpy as np
import pytest
import xgboost as xgb
from hypothesis import given
from hypothesis import strategies as st

from loaders.boosting import ubjson

ROWS = np.arange(40.0).reshape(20, 2)


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list) else value


def _as_float32(value: object) -> object:
    """XGBoost rounds what it writes as text; compare as it computes."""
    if isinstance(value, float):
        return float(np.float32(value))
    if isinstance(value, dict):
        return {name: _as_float32(part) for name, part in value.items()}
    return [_as_float32(part) for part in value] if isinstance(value, list) else value


def test_a_model_reads_the_same_as_from_json() -> None:
    """Both of XGBoost's ways to write say one thing."""
    booster = xgb.train({"max_depth": 2}, xgb.DMatrix(ROWS, ROWS[:, 0]), 3)
    read = ubjson.parse(booster.save_raw("ubj"))
    assert _as_float32(_plain(read)) == _as_float32(json.loads(booster.save_raw("json")))


def _length(n: int) -> bytes:
    return b"L" + struct.pack(">q", n)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"i\xff", -1),
        (b"U\xff", 255),
        (b"I\x01\x00", 256),
        (b"D" + struct.pack(">d", 0.5), 0.5),
        (b"Si\x02ab", "ab"),
        (b"Cx", "x"),
        (b"Z", None),
        (b"[TF]", [True, False]),
        (b"[#i\x02Si\x01aSi\x01b", ["a", "b"]),
        (b"[$U#i\x02\x01\x02", [1, 2]),
        (b"[NNi\x01]", [1]),
        (b"{i\x01a{}}", {"a": {}}),
    ],
)
def test_every_type_is_read(data: bytes, value: object) -> None:
    """Numbers in their widths, texts, constants, arrays with and without type and count."""
    assert _plain(ubjson.parse(data)) == value


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"?",
        b"[",
        b"{i\x01a",
        b"S" + _length(1 << 40) + b"a",
        b"S" + _length(-1),
        b"SZ",
        b"[$d#" + _length(1 << 60),
        b"[$T#" + _length(1 << 60),
        b"[#" + _length(1 << 60),
        b"[$Ui\x01]",
        b"{#i\x01i\x01ai\x01",
        b"[" * 100_000,
        b"i\x01i\x01",
        b"Sd\x00\x00\x00\x00",
        b"Si\x01\xff",
        b"{i\x01ai\x01i\x01ai\x02}",
    ],
)
def test_what_is_no_document_is_a_value_error(data: bytes) -> None:
    """Cut short, nested without end, larger than it can be, or one name for two things."""
    with pytest.raises(ValueError, match=r".+"):
        ubjson.parse(data)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Nothing but a ValueError comes out."""
    with contextlib.suppress(ValueError):
        ubjson.parse(data)


def test_a_member_is_cut_out_as_it_stands() -> None:
    """Its bytes are a document of their own."""
    data = b"{i\x01ai\x01i\x01b{i\x01c[$U#i\x02\x01\x02}}"
    assert _plain(ubjson.parse(ubjson.member(data, "b"))) == {"c": [1, 2]}
    with pytest.raises(ValueError, match="no such member"):
        ubjson.member(data, "z")
