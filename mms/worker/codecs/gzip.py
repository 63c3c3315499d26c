"""Bodies that come with ``Content-Encoding: gzip``, inflated within a bound.

Any number of members up to a bound, one after the other, and nothing else: what is cut short, is
damaged or has more behind it is an ``InputError``. Never holds more than the bound.
"""

from __future__ import annotations

import zlib
from typing import Final

from loaders.base import InputError
from mms.errors import PayloadTooLarge

MAX_RATIO: Final = 1032  # deflate's own: it can't pack better
MAX_MEMBERS: Final = 1000
_BLOCK: Final = 1 << 16  # what follows a member is copied, so that blocks must be short
_GZIP: Final = 16 + zlib.MAX_WBITS


def inflated(body: bytes, limit: int) -> bytes:
    """What was packed; raises InputError, or PayloadTooLarge beyond ``limit`` bytes."""
    whole = bytearray()
    at = members = 0
    while at < len(body):
        at = _member(body, at, whole, limit)
        members += 1
        if members == MAX_MEMBERS and at < len(body):
            raise InputError(f"the gzip body has more than {MAX_MEMBERS} members: send one")
    return bytes(whole)


def _member(body: bytes, at: int, whole: bytearray, limit: int) -> int:
    """Inflate the member that begins ``at``; where it ends."""
    begin, stream = at, zlib.decompressobj(_GZIP)
    while not stream.eof:
        block = body[at : at + _BLOCK]
        if not block:
            raise InputError("the gzip body is cut short")
        try:
            whole += stream.decompress(block, limit - len(whole) + 1)
        except zlib.error:
            raise InputError(
                "the body's gzip data is damaged"
                if begin == 0
                else f"what follows the gzip data at byte {begin} of the body is no gzip"
            ) from None
        if len(whole) > limit:
            raise PayloadTooLarge(
                f"The body has over {limit} bytes when it is unpacked (MMS_MAX_BODY)."
            )
        at += len(block) - len(stream.unused_data)
    return at
