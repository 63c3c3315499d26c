"""What the messages hold: fixed structs for batches, bounded JSON for loads. Both sides share it.

Together with ``wire`` the only place that knows bytes. The front never unpickles what a worker
sends: each field is checked, and anything else is a :class:`ProtocolError`. The worker trusts the
front, so what goes that way is not checked twice.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from struct import Struct
from typing import Any, Final, NamedTuple, Protocol

from mms.fleet.wire import ProtocolError
from mms.types import Loaded

MAX_JSON: Final = 1 << 20
MAX_TEXT: Final = 2_000  # characters of an error message
_SHARED, _SHARED_BYTES = 1024, 4096  # signatures that are kept once, and how long they may be

CODES: Final = (
    "",
    "ModelError",
    "ModelLoadError",
    "ValidationError",
    "NotAcceptable",
    "UnsupportedMediaType",
    "InsufficientStorage",
    "PayloadTooLarge",
)
"""What a worker may say of a request or a load: nothing wrong, or one of the public ErrorCodes."""

_FAILED: Final = (*CODES, "OtherEnvironment")
"""A load may also be for another interpreter, which the message then names."""
_INDEX: Final = {code: index for index, code in enumerate(CODES)}
_BATCH = Struct("<II")  # model id, requests
_REQUEST = Struct("<II")  # bytes of the spec, of the body
_RESULT = Struct("<III")  # rows, microseconds in predict, replies
_REPLY = Struct("<BHI")  # index in CODES, bytes of the content type, of the body
_ID = Struct("<I")
_U32: Final = 0xFFFFFFFF


class ReplyLike(Protocol):
    """``mms.worker.replies.Reply`` has this shape too: the worker knows no class of the fleet."""

    @property
    def code(self) -> str: ...
    @property
    def content_type(self) -> bytes: ...
    @property
    def body(self) -> bytes: ...


class Reply(NamedTuple):
    """The answer to one request of a batch; ``code`` is empty when it went well."""

    code: str
    content_type: bytes
    body: bytes  # of an error: its message, UTF-8


class Result(NamedTuple):
    replies: list[Reply]
    rows: int
    predict_s: float


class LoadRequest(NamedTuple):
    model_id: int
    path: Path
    options: dict[str, Any]


def encode_batch(model_id: int, requests: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    parts = [_BATCH.pack(model_id, len(requests))]
    for spec, body in requests:
        parts += (_REQUEST.pack(len(spec), len(body)), spec, body)
    return parts


def decode_batch(payload: bytes) -> tuple[int, list[tuple[bytes, bytes]]]:
    model_id, count = _BATCH.unpack_from(payload)
    at = _BATCH.size
    requests = []
    for _ in range(count):
        spec_size, body_size = _REQUEST.unpack_from(payload, at)
        start = at + _REQUEST.size
        middle, at = start + spec_size, start + spec_size + body_size
        requests.append((payload[start:middle], payload[middle:at]))
    return model_id, requests


def encode_result(replies: Sequence[ReplyLike], rows: int, predict_s: float) -> list[bytes]:
    """Raises whatever it comes to where a reply isn't one (the executor then says so)."""
    micros = min(_U32, max(0, int(predict_s * 1e6)))
    parts = [_RESULT.pack(min(_U32, rows), micros, len(replies))]
    for reply in replies:
        kind, body = reply.content_type, reply.body
        if type(kind) is not bytes or type(body) is not bytes:
            raise TypeError("a reply is bytes")
        parts += (_REPLY.pack(_INDEX.get(reply.code, 1), len(kind), len(body)), kind, body)
    return parts


def decode_result(payload: bytes, expected: int) -> Result:
    """``expected`` is how many requests the batch had: so many replies, or it is no answer."""
    if len(payload) < _RESULT.size:
        raise ProtocolError("a result without its head")
    rows, micros, count = _RESULT.unpack_from(payload)
    if count != expected:
        raise ProtocolError("more or fewer replies than requests")
    at, size = _RESULT.size, len(payload)
    replies = []
    for _ in range(count):
        start = at + _REPLY.size
        if start > size:
            raise ProtocolError("a result that is cut short")
        index, type_size, body_size = _REPLY.unpack_from(payload, at)
        middle, at = start + type_size, start + type_size + body_size
        if at > size or index >= len(CODES):
            raise ProtocolError("a result whose sizes or codes are wrong")
        replies.append(Reply(CODES[index], payload[start:middle], payload[middle:at]))
    if at != size:
        raise ProtocolError("a result with more behind it")
    return Result(replies, rows, micros / 1e6)


def encode_load(model_id: int, path: Path, options: Mapping[str, object]) -> bytes:
    return _json({"id": model_id, "path": str(path), "options": dict(options)})


def decode_load(payload: bytes) -> LoadRequest:
    fields = json.loads(payload)
    return LoadRequest(fields["id"], Path(fields["path"]), fields["options"])


def encode_loaded(loaded: Loaded) -> bytes:
    """A signature too big to send (tens of thousands of columns) is left out, not the model."""
    fields = {
        "format": loaded.format,
        "bytes": loaded.bytes,
        "methods": loaded.methods,
        "batchable": loaded.batchable,
        "signature": loaded.signature,
        "load_s": float(loaded.load_s),
        "keeps_files": loaded.keeps_files,
    }
    payload = _json(fields)
    return payload if len(payload) <= MAX_JSON else _json(fields | {"signature": {}})


def decode_loaded(payload: bytes) -> Loaded:
    fields = _fields(payload)
    size, load_s, methods = fields.get("bytes"), fields.get("load_s"), fields.get("methods")
    signature, batchable = fields.get("signature"), fields.get("batchable")
    if type(size) is not int or not 0 <= size < 1 << 63 or type(batchable) is not bool:
        raise ProtocolError("a loaded model without its size")
    if type(load_s) is not float or not 0 <= load_s < math.inf:
        raise ProtocolError("a load that took no time that there is")
    if not isinstance(methods, list) or not isinstance(signature, dict):
        raise ProtocolError("a loaded model without methods or signature")
    return Loaded(
        format=_name(fields.get("format")),
        bytes=size,
        methods=tuple(_name(method) for method in methods),
        batchable=batchable,
        signature=_shared(json.dumps(signature)) if len(payload) < _SHARED_BYTES else signature,
        load_s=load_s,
        keeps_files=fields.get("keeps_files") is True,
    )


@lru_cache(_SHARED)
def _shared(text: str) -> dict[str, object]:
    """The same object for the same text: thousands of models have few signatures."""
    signature: dict[str, object] = json.loads(text)
    return signature


def encode_failed(code: str, message: str) -> bytes:
    return _json({"code": code, "message": message[:MAX_TEXT]})


def decode_failed(payload: bytes) -> tuple[str, str]:
    fields = _fields(payload)
    code, message = fields.get("code"), fields.get("message")
    if code not in _FAILED or not isinstance(message, str):
        raise ProtocolError("a failure that names no known code")
    return str(code), message[:MAX_TEXT]


def encode_id(model_id: int) -> bytes:
    return _ID.pack(model_id)


def decode_id(payload: bytes) -> int:
    return int(_ID.unpack(payload)[0])


def _json(fields: Mapping[str, object]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


def _fields(payload: bytes) -> dict[str, Any]:
    if len(payload) > MAX_JSON:
        raise ProtocolError("too much JSON")
    try:
        fields = json.loads(payload)
    except (ValueError, RecursionError):
        raise ProtocolError("not JSON") from None
    if not isinstance(fields, dict):
        raise ProtocolError("JSON, but no object")
    return fields


def _name(value: object) -> str:
    if not isinstance(value, str) or len(value) > 100:
        raise ProtocolError("a name that is none")
    return value
