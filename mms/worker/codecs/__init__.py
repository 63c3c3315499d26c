"""Bodies in, bodies out: one module per media type, found by :func:`decode` and :func:`encode`.

A codec knows nothing of models: it makes a ``Payload`` of bytes and bytes of ``Outputs``, and it
loses nothing on the way. Request bodies are hostile: a decoder raises ``InputError`` and nothing
else (but MemoryError, and PayloadTooLarge for what is too large only when it is unpacked).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from loaders.base import Form, Outputs, Payload
from mms import media
from mms.worker.codecs import csv, json, jsonlines, npy, npz
from mms.worker.codecs.gzip import MAX_RATIO, inflated


class Codec(NamedTuple):
    decode: Callable[[bytes, media.Spec], Payload]
    encode: Callable[[Outputs, Form], bytes]


CODECS: dict[str, Codec] = {
    media.JSON: Codec(json.decode, json.encode),
    media.CSV: Codec(csv.decode, csv.encode),
    media.JSON_LINES: Codec(jsonlines.decode, jsonlines.encode),
    media.NPY: Codec(npy.decode, npy.encode),
    media.NPZ: Codec(npz.decode, npz.encode),
}


def may_hold(spec: bytes, body: bytes) -> int:
    """How many bytes a body is at most, unpacked; raises nothing, whatever the spec is."""
    limit = _unpacked_limit(spec)
    return max(len(body), min(len(body) * MAX_RATIO, limit)) if limit else len(body)


@lru_cache(maxsize=1024)
def _unpacked_limit(spec_bytes: bytes) -> int:
    """What a body may unpack to; 0 for one that isn't packed."""
    try:
        spec = media.decode_spec(spec_bytes)
    except (ValueError, TypeError):  # no spec: said when the request is prepared
        return 0
    row = media.TYPES.get(spec.content_type)
    return spec.max_body if spec.coding or (row is not None and row.is_packed) else 0


def plain(body: bytes, spec: media.Spec) -> bytes:
    """The body without its Content-Encoding; raises InputError, PayloadTooLarge."""
    return inflated(body, spec.max_body) if spec.coding else body


def decode(body: bytes, spec: media.Spec) -> Payload:
    """What a plain body says; raises InputError, and PayloadTooLarge for what is packed."""
    return CODECS[spec.content_type].decode(body, spec)


def encode(outputs: Outputs, form: Form, spec: media.Spec) -> tuple[bytes, bytes]:
    """Content type and body of an answer to a request of that form.

    Raises ``values.Unwritable`` where the outputs have no such form, TypeError and ValueError for
    values that can't be written at all.
    """
    name = media.ALIASES.get(spec.accept, spec.accept)
    reply = media.TYPES[name].reply if name == spec.accept else spec.accept.encode("ascii")
    return reply, CODECS[name].encode(outputs, form)
