"""JSON bodies in their three forms, and the answers to them.

``{"instances": [...]}`` is answered by ``{"predictions": [...]}``, ``{"inputs": {name: ...}}`` by
``{"outputs": {name: ...}}``, a bare array by a bare array. Rows are arrays or objects by name.
NaN and infinities are read and written as Python's json does; of equal keys the last counts.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from loaders.base import Form, InputError, Outputs, Payload
from mms.media import Spec
from mms.worker.codecs.text import text_of
from mms.worker.codecs.values import by_label, leaf, plain

try:
    import orjson
except ImportError:  # an environment of the operator's own may not have it
    _quick: Callable[[bytes], Any] | None = None
else:
    _quick = orjson.loads  # in an eighth of the time

_EXPECTED = (
    'send {"instances": [row, ...]}, {"inputs": {name: values, ...}} or a bare array of rows'
)
_KINDS = {list: "an array", dict: "an object", str: "a string", bool: "a boolean"}

_MAX_DIGITS = getattr(sys, "get_int_max_str_digits", lambda: 4300)()

_parse = json.JSONDecoder().decode


def decode(body: bytes, spec: Spec) -> Payload:
    document = parse(text_of(body, spec))
    if isinstance(document, list):
        return rows_payload("rows", document)
    if not isinstance(document, dict):
        raise InputError(f"the body is {_kind(document)}: {_EXPECTED}")
    form = _form(document)
    return _instances(document[form]) if form == "instances" else _inputs(document[form])


def plain_rows(body: bytes) -> list[Any]:
    """The rows of ``{"instances": [...]}`` and nothing else; none where that isn't what it is.

    A number beyond 64 bits may be a float, as which it would be taken anyway.
    """
    try:
        # The quick one is stricter: what it refuses is looked at again by the caller.
        document = _quick(body) if _quick else _parse(body.decode())
    except (ValueError, RecursionError, MemoryError):
        return []
    if type(document) is not dict or len(document) != 1:
        return []
    rows = document.get("instances")
    return rows if type(rows) is list else []


def parse(text: str, line: int | None = None) -> Any:
    """What the body says, or that ``line`` of it; raises InputError."""
    try:
        return _parse(text)
    except json.JSONDecodeError as error:
        row = f"line {error.lineno}, " if line is None else ""
        why = f"is not JSON: {error.msg} at {row}column {error.colno}"
    except RecursionError:
        why = "is nested too deep"
    except ValueError:  # int() refuses, as a guard against quadratic work
        why = f"holds a number of more than {_MAX_DIGITS} digits"
    raise InputError(f"the body {why}" if line is None else f"line {line} of the body {why}")


def _kind(value: object) -> str:
    if value is None:
        return "null"
    return _KINDS.get(type(value), "a number")


def _form(document: dict[str, Any]) -> str:
    """Which of the two keyed forms an object is; what else it asks for is never just ignored."""
    forms = [key for key in ("instances", "inputs") if key in document]
    if len(forms) != 1:
        raise InputError(
            f'the body has both "instances" and "inputs": {_EXPECTED}'
            if forms
            else f'the body is an object without "instances" or "inputs": {_EXPECTED}'
        )
    for key, value in document.items():
        if key == "signature_name":  # what TensorFlow Serving's clients send
            _check_signature(value)
        elif key != forms[0] and value not in (None, {}, []):
            raise InputError(f'the body has {_name(key)} beside "{forms[0]}": {_EXPECTED}')
    return forms[0]


def _check_signature(name: object) -> None:
    if name not in (None, "", "serving_default"):
        raise InputError(
            '"signature_name" must be "serving_default": another method than the default is asked '
            "for by X-Amzn-SageMaker-Custom-Attributes: method=..."
        )


def _name(key: str) -> str:
    return json.dumps(key if len(key) <= 40 else key[:37] + "...")


def _instances(value: object) -> Payload:
    if not isinstance(value, list):
        raise InputError(f'"instances" is {_kind(value)}: {_EXPECTED}')
    return rows_payload("instances", value)


def rows_payload(form: Form, rows: list[Any]) -> Payload:
    """Rows in any of their shapes; raises InputError unless they are all of one kind."""
    if not rows:
        raise InputError("there are no rows: send at least one")
    kinds = set(map(type, rows))
    if kinds == {list}:
        return Payload(form=form, rows=rows)
    if kinds == {dict}:
        return Payload(form=form, rows=_unwrapped(rows))
    if kinds.isdisjoint((list, dict)):
        return Payload(form=form, rows=rows, flat=True)
    odd = next(i for i, row in enumerate(rows) if type(row) is not type(rows[0]))
    raise InputError(
        f"row {odd} is {_kind(rows[odd])}, row 0 is {_kind(rows[0])}: "
        "send all rows as arrays or all as objects by name"
    )


def _unwrapped(rows: list[Any]) -> list[Any]:
    """SageMaker's ``{"features": [...]}`` rows as arrays; rows by name as they are."""
    if _features(rows[0]) is None:
        return rows
    arrays = [_features(row) for row in rows]
    for i, cells in enumerate(arrays):
        if not isinstance(cells, list):
            raise InputError(f'row {i} has no array of values under "features"')
    return arrays


def _features(row: dict[str, Any]) -> object:
    """What stands under SageMaker's wrapping of a row; None if it isn't wrapped."""
    wrapped = row.get("data") if row.keys() == {"data"} else row
    if not isinstance(wrapped, dict) or wrapped.keys() != {"features"}:
        return None
    features: object = wrapped["features"]
    if not isinstance(features, dict):
        return features if isinstance(features, list) else None
    return features["values"] if features.keys() == {"values"} else features


def _inputs(value: object) -> Payload:
    tensors = {"": value} if isinstance(value, list) else value
    if not isinstance(tensors, dict):
        raise InputError(f'"inputs" is {_kind(value)}: send an object of values by input name')
    if not tensors or value == []:
        raise InputError('"inputs" is empty: send the values by input name')
    for name, tensor in tensors.items():
        if tensor is None or isinstance(tensor, dict):
            raise InputError(f"input {_name(name)} is {_kind(tensor)}: send an array")
    return Payload(form="inputs", tensors=tensors)


# --- Answers ---

_dumps = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, separators=(",", ":"), default=leaf
).encode

_FRAMES: dict[Form, tuple[str, str]] = {
    "instances": ('{"predictions":', "}"),
    "inputs": ('{"outputs":', "}"),
    "rows": ("", ""),
    "csv": ('{"predictions":', "}"),
}


def encode(outputs: Outputs, form: Form) -> bytes:
    """The answer: several outputs are one object by name per row.

    Outputs that can't be split by rows are one object by name for the whole request.
    """
    before, after = _FRAMES[form]
    text = before + _dumps(answer(outputs, form)) + after
    # Half a surrogate pair in a string becomes \udXXX, which is JSON's own way to say it.
    return text.encode("utf-8", "backslashreplace")


def encode_each(outputs: Outputs, counts: list[int]) -> list[bytes]:
    """The answers to several requests of ``instances``, of so many rows each."""
    before, after = _FRAMES["instances"]
    rows, answers, at = answer(outputs, "instances"), [], 0
    for count in counts:
        text = before + _dumps(rows[at : at + count]) + after
        answers.append(text.encode("utf-8", "backslashreplace"))
        at += count
    return answers


def answer(outputs: Outputs, form: Form) -> Any:
    """What is to be written, without the frame of the form."""
    labels = outputs.labels
    columns = {
        name: by_label(array, labels[name]) if name in labels else plain(array)
        for name, array in outputs.arrays.items()
    }
    if form == "inputs" or not (outputs.single or outputs.batched):
        return columns
    if outputs.single:
        return next(iter(columns.values()))
    return [dict(zip(columns, cells)) for cells in zip(*columns.values())]
