"""A client's side of every body format: tables written as requests, answers read as tables.

By the libraries that clients use, and not by the server's codecs.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np

JSON = "application/json"
CSV = "text/csv"
JSON_LINES = "application/jsonlines"
NPY = "application/x-npy"
NPZ = "application/x-npz"
FORMATS = (JSON, CSV, JSON_LINES, NPY, NPZ)

Table = list[list[Any]]


def array_of(table: Table, dtype: str) -> Any:
    """``dtype`` is NumPy's name, or "str"."""
    return np.array(table) if dtype == "str" else np.array(table, dtype=dtype)


def npy_of(array: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()


def npz_of(*unnamed: Any, **named: Any) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, *unnamed, **named)
    return out.getvalue()


def body_of(table: Table, dtype: str, media_type: str) -> bytes:
    """The table as a request's body."""
    if media_type == JSON:
        return json.dumps({"instances": table}).encode()
    if media_type == JSON_LINES:
        return "".join(json.dumps(row) + "\n" for row in table).encode()
    if media_type == CSV:
        out = io.StringIO()
        csv.writer(out, quoting=csv.QUOTE_NONNUMERIC).writerows(table)
        return out.getvalue().encode()
    array = array_of(table, dtype)
    return npy_of(array) if media_type == NPY else npz_of(array)


def table_of(body: bytes, dtype: str, media_type: str) -> Any:
    """The answer's values as an array of this type; what has another type by itself is an error."""
    return array_of(_READERS[media_type](body, dtype), dtype)


def _from_json(body: bytes, _dtype: str) -> Any:
    document = json.loads(body)
    answer = document.get("predictions", document.get("outputs"))
    return next(iter(answer.values())) if isinstance(answer, dict) else answer


def _from_lines(body: bytes, _dtype: str) -> Any:
    return [json.loads(line) for line in body.splitlines()]


def _from_csv(body: bytes, dtype: str) -> Any:
    cells = csv.reader(io.StringIO(body.decode(), newline=""))
    read: Callable[[str], Any] = {"i": int, "f": float, "s": str}[dtype[0]]
    return [[read(cell) for cell in row] for row in cells]


def _from_npy(body: bytes, dtype: str) -> Any:
    return _typed(np.load(io.BytesIO(body), allow_pickle=False), dtype)


def _from_npz(body: bytes, dtype: str) -> Any:
    with np.load(io.BytesIO(body), allow_pickle=False) as file:
        (name,) = file
        return _typed(file[name], dtype)


def _typed(array: Any, dtype: str) -> Any:
    assert array.dtype.kind == "U" if dtype == "str" else array.dtype == dtype
    return array.tolist()


_READERS: dict[str, Callable[[bytes, str], Any]] = {
    JSON: _from_json,
    JSON_LINES: _from_lines,
    CSV: _from_csv,
    NPY: _from_npy,
    NPZ: _from_npz,
}
