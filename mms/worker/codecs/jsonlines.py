"""JSON Lines: one instance a line in, one prediction a line out.

A line is what an entry of JSON's ``instances`` is; a bare value is a row of one. Blank lines are
skipped. Lines end with a line feed and nothing else, since JSON's strings may hold all the other
characters that some readers take for an end of line.
"""

from __future__ import annotations

import json

from loaders.base import Form, Outputs, Payload
from mms.media import Spec
from mms.worker.codecs.json import answer, parse, rows_payload
from mms.worker.codecs.text import text_of
from mms.worker.codecs.values import leaf


def decode(body: bytes, spec: Spec) -> Payload:
    rows = [
        parse(line, number)
        for number, line in enumerate(text_of(body, spec).split("\n"), 1)
        if line.strip(" \t\r")
    ]
    payload = rows_payload("instances", rows)
    if payload.flat:  # never one row: the lines say where rows end
        return Payload(form="instances", rows=[[value] for value in rows])
    return payload


# --- Answers ---

# ASCII only: many readers also end lines at U+2028, which a JSON string may hold as it is.
_dumps = json.JSONEncoder(check_circular=False, separators=(",", ":"), default=leaf).encode


def encode(outputs: Outputs, form: Form) -> bytes:  # noqa: ARG001 - lines have one form
    """One line per row; one line for an answer that has no rows."""
    whole = answer(outputs, "rows")
    lines = whole if isinstance(whole, list) else [whole]
    return "".join([_dumps(line) + "\n" for line in lines]).encode("ascii")
