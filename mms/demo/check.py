"""Whether an answer is the model's own: the whole document, not only its numbers.

Pure. Words, labels and shapes are compared exactly, floating point within the sample's tolerance:
0.0 means the same bits. Returns what differs first, for a person, or "" when nothing does.
"""

from __future__ import annotations

import csv
import io
import json
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mms.demo.sample import Sample


def difference(sample: Sample, body: bytes) -> str:
    """What an answer's body has otherwise than the sample expects."""
    try:
        got = _parse(sample.content_type, body.decode("utf-8"))
    except (ValueError, csv.Error):
        return f"the answer isn't {sample.content_type}: {body[:80]!r}"
    return _compare(_parse(sample.content_type, sample.expected), got, sample.tolerance, "")


def _parse(content_type: str, text: str) -> Any:
    if content_type == "text/csv":
        return [[_cell(cell) for cell in row] for row in csv.reader(io.StringIO(text))]
    return json.loads(text)


def _cell(text: str) -> int | float | str:
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def _compare(want: Any, got: Any, tolerance: float, where: str) -> str:
    if isinstance(want, dict) and isinstance(got, dict) and want.keys() == got.keys():
        pairs: Any = ((want[key], got[key], f"{where}.{key}") for key in want)
    elif isinstance(want, list) and isinstance(got, list) and len(want) == len(got):
        pairs = ((w, g, f"{where}[{i}]") for i, (w, g) in enumerate(zip(want, got, strict=True)))
    elif _same(want, got, tolerance):
        return ""
    else:
        return f"{where or 'the answer'} is {_brief(got)}, the model says {_brief(want)}"
    found = (_compare(w, g, tolerance, place) for w, g, place in pairs)
    return next((text for text in found if text), "")


def _same(want: Any, got: Any, tolerance: float) -> bool:
    if isinstance(want, float) and isinstance(got, int | float) and not isinstance(got, bool):
        if math.isnan(want):
            return math.isnan(got)
        # The absolute part is for what should be zero, where no relative error is small.
        return math.isclose(want, got, rel_tol=tolerance, abs_tol=tolerance / 1000)
    return type(want) is type(got) and bool(want == got)


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
