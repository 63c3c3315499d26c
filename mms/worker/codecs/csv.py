"""CSV bodies (RFC 4180) as rows of text cells, and answers of one line per row.

Blanks around unquoted cells are trimmed, quoted ones are kept as they are. Whether a first row
is a header is said by the Content-Type or else left to the model. Not the standard library's
reader: it can't tell a quoted cell from another, and it refuses cells of more than 128 kB.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from loaders.base import Array, Form, InputError, Outputs, Payload
from mms.media import Spec
from mms.worker.codecs.text import text_of
from mms.worker.codecs.values import Unwritable, leaf, plain


def decode(body: bytes, spec: Spec) -> Payload:
    text = text_of(body, spec)
    if "\0" in text:
        raise InputError(
            "the body holds NUL bytes, so it is not CSV in "
            f"{spec.param('charset', 'utf-8')}: name its charset in Content-Type"
        )
    rows = _quoted_rows(text) if '"' in text else _bare_rows(text)
    header = rows.pop(0) if spec.param("header", "") == "present" else None
    _check(rows, header)
    return Payload(form="csv", rows=rows, header=header, maybe_header=not spec.param("header", ""))


def _check(rows: list[list[str]], header: list[str] | None) -> None:
    """Raise InputError unless there are rows, and all as wide as the first."""
    if not rows:
        raise InputError("there is only a header: send at least one row")
    width, first = (len(rows[0]), "row 0") if header is None else (len(header), "the header")
    if set(map(len, rows)) != {width}:
        odd = next(i for i, row in enumerate(rows) if len(row) != width)
        raise InputError(f"row {odd} has {len(rows[odd])} cells, {first} has {width}")


def _bare_rows(text: str) -> list[list[str]]:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").rstrip(_BLANKS).split("\n")
    if " " in text or "\t" in text:
        return [[cell.strip(" \t") for cell in line.split(",")] for line in lines]
    return [line.split(",") for line in lines]


_BLANKS = " \t\r\n"
# No part of it can match in two ways, so that it takes linear time.
_QUOTED = r'[ \t]*"([^"]*(?:""[^"]*)*)"[ \t]*'
_CELL = re.compile(rf'(?:{_QUOTED}|[ \t]*((?![" \t])[^,\r\n]*))(,|\r\n|\n|\r|\Z)')


def _quoted_rows(text: str) -> list[list[str]]:
    text = text.rstrip(_BLANKS)
    rows: list[list[str]] = []
    row: list[str] = []
    at, separator = 0, ","
    while separator:
        match = _CELL.match(text, at)
        if match is None:
            raise _broken(text, at)
        quoted, bare, separator = match.groups()
        row.append(bare.rstrip(" \t") if quoted is None else quoted.replace('""', '"'))
        at = match.end()
        if separator != ",":
            rows.append(row)
            row = []
    return rows


def _broken(text: str, at: int) -> InputError:
    line = len(re.findall(r"\r\n|\n|\r", text[:at])) + 1
    if re.compile(_QUOTED).match(text, at):
        return InputError(f"line {line} of the body has text after a cell's closing quote")
    return InputError(f"the quote that opens a cell on line {line} of the body is never closed")


# --- Answers ---


def encode(outputs: Outputs, form: Form) -> bytes:  # noqa: ARG001 - CSV has one form
    """One line per row; several outputs, and those of several values, are columns in order."""
    tables = [_table(array) for array in outputs.arrays.values()]
    heights = {len(table) for table in tables}
    if len(heights) > 1:
        raise Unwritable(
            "the model's outputs differ in their number of rows, so they are no CSV table: "
            "send Accept: application/json"
        )
    cell: Callable[[Any], str] = repr if all(map(_is_plain_numbers, tables)) else _cell
    lines = [
        ",".join([cell(value) for part in row for value in part])
        for row in zip(*map(plain, tables))
    ]
    return "".join([(line or '""') + "\n" for line in lines]).encode()


def _table(array: Array) -> Array:
    """An output as a table of two axes."""
    rows = array if array.ndim else array.reshape(1)
    return rows.reshape(len(rows), math.prod(rows.shape[1:]))


def _is_plain_numbers(table: Array) -> bool:
    """Whether ``repr`` writes every cell: no strings, no masks, nothing wider than a double."""
    kind = table.dtype.kind
    return type(table) is np.ndarray and kind in "fiu" and table.dtype.itemsize <= 8


# What wouldn't be read back as it is: separators, and what a reader trims.
_NEEDS_QUOTES = re.compile(r'[",\r\n]|^[ \t\ufeff]|[ \t]\Z')


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):  # NumPy's own would say "np.float64(1.0)"
        return float.__repr__(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (list, tuple, dict)):
        value = json.dumps(value, ensure_ascii=False, default=leaf)
    if not isinstance(value, str):
        return _cell(leaf(value))
    return '"' + value.replace('"', '""') + '"' if _NEEDS_QUOTES.search(value) else value
