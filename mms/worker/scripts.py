"""Requests to models that are answered by scripts of their own: one at a time, bodies as they came.

A script says what it reads and writes, so there is no codec and no batch here. What it raises is
its model's fault, but where it says by a status that it is the caller's; whatever it raises, its
neighbours and the requests behind it are answered.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from loaders.base import InputError, RawModel
from loaders.scripts.context import ATTRIBUTES
from loaders.scripts.defaults import TEXTS
from loaders.scripts.errors import ScriptError, Unreadable, Unwritable
from loaders.scripts.modules import public
from mms.errors import (
    MmsError,
    ModelError,
    NotAcceptable,
    UnsupportedMediaType,
    ValidationError,
)
from mms.media import JSON, Spec, decode_spec
from mms.worker.codecs import plain
from mms.worker.replies import BatchResult, Reply, refusal

_BY_STATUS: Final[dict[int, type[MmsError]]] = {406: NotAcceptable, 415: UnsupportedMediaType}


def has_script(model: Any) -> bool:
    return hasattr(model, "answer_raw")


def run_scripts(model: Any, requests: Sequence[tuple[bytes, bytes]]) -> BatchResult:
    """Answer each request by itself with a ``RawModel``."""
    begun = time.perf_counter()
    replies = [_reply(model, spec, body) for spec, body in requests]
    return BatchResult(replies, rows=len(replies), predict_s=time.perf_counter() - begun)


def _reply(model: RawModel, spec_bytes: bytes, body: bytes) -> Reply:
    try:
        spec = decode_spec(spec_bytes)
        kind = spec.raw_content_type.partition(";")[0].strip().lower() or JSON
        whole = plain(body, spec)
        data = _text(whole, spec) if kind in TEXTS else whole
        answer, content_type = model.answer_raw(
            data, kind, spec.wanted or spec.accept, _headers(spec)
        )
    except BaseException as error:  # noqa: BLE001 - a script may raise anything
        reply = refusal(_told(error), model.format)
        return reply._replace(body=public(reply.body.decode()).encode())
    return Reply("", content_type.encode("ascii"), answer)


def _headers(spec: Spec) -> dict[str, str]:
    """The request's headers as far as a script gets to see them."""
    given = {
        "Content-Type": spec.raw_content_type or JSON,
        "Accept": spec.raw_accept,
        ATTRIBUTES: spec.attributes,
    }
    return {name: value for name, value in given.items() if value}


def _text(body: bytes, spec: Spec) -> str:
    charset = spec.param("charset", "utf-8")
    try:
        return body.decode(charset)
    except UnicodeDecodeError as error:
        raise InputError(f"byte {error.start} of the body isn't {charset} text") from None


def _told(error: BaseException) -> BaseException:
    """The error as the caller is to hear of it."""
    if isinstance(error, Unreadable):
        return UnsupportedMediaType(str(error))
    if isinstance(error, Unwritable):
        return NotAcceptable(str(error))
    try:
        status, message = _status(error), _message(error)
    except Exception:  # noqa: BLE001 - an error of the script's own making may be anything
        return error
    if type(status) is int and 400 <= status < 500:
        return _BY_STATUS.get(status, ValidationError)(message)
    return ModelError(message) if isinstance(error, ScriptError) else error


def _status(error: BaseException) -> object:
    return error.status if isinstance(error, ScriptError) else getattr(error, "status_code", None)


def _message(error: BaseException) -> str:
    """One line: what the toolkits' errors call ``message`` or ``phrase``, else the error's text."""
    for text in (getattr(error, "message", None), getattr(error, "phrase", None)):
        if isinstance(text, str) and text.strip():
            return text.strip().splitlines()[0]
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
