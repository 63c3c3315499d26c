"""JSON Lines: one instance a line in, one prediction a line out.

A line is what an entry of JSON's ``instances`` is; a bare value is a row of one. Blank lines are
skipped. Lines end with a line feed and nothing else, since JSON's strings may hold all the other
characters that some readers take for an end of line.
"""

from __future__ import annotations

import json
from typing import Any

from loaders.base import Form, Outputs, Payload
from mms.media import Spec
from mms.worker.codecs.json import answer, parse, rows_payload
from mms.worker.codecs.text import text_of
from mms.worker.codecs.values import leaf


def decode(body: bytes, spec: Spec) -> Payload:
    rows = []
    for number, line in enumerate(text_of(body, spec).split("\n"), 1):
        bare = line.rstrip(" \t\r")
        if bare:
            rows.append(_instance(bare, number))
    payload = rows_payload("instances", rows)
    if payload.flat:  # never one row: the lines say where rows end
        return Payload(form="instances", rows=[[value] for value in rows])
    return payload


def _instance(line: str, number: int) -> Any:
    try:
        value, end = _scan(line, 0)
    except (StopIteration, ValueError, RecursionError):
        end = -1
    return value if end == len(line) else parse(line, number)  # blanks first, or it raises


_decoder: Any = json.JSONDecoder()
_scan = _decoder.scan_once  # a third of decode()'s time, which counts for short lines


# --- Answers ---

# ASCII only: many readers also end lines at U+2028, which a JSON string may hold as it is.
_dumps = json.JSONEncoder(check_circular=False, separators=(",", ":"), default=leaf).encode


def encode(outputs: Outputs, form: Form) -> bytes:  # noqa: ARG001 - lines have one form
    """One line per row; one line for an answer that has no rows."""
    whole = answer(outputs, "rows")
    lines = whole if isinstance(whole, list) else [whole]
    return "".join([_dumps(line) + "\n" for line in lines]).encode("ascii")
