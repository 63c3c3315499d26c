"""Gzip, undone block by block, with its checksum verified and its growth bounded.

Pulls blocks from an iterator and yields blocks; no file, no buffer beyond one block each way. What
the iterator raises passes through: a store that fails is not a corrupt artifact.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from mms.errors import ModelLoadError
from mms.store.growth import Growth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mms.store.limits import Limits

MAGIC = b"\x1f\x8b"
_OUT = 1 << 20
_GZIP_WINDOW = 31


def gunzip(blocks: Iterator[bytes], limits: Limits) -> Iterator[bytes]:
    """The unpacked bytes of one gzip member, or of several that follow each other."""
    growth = Growth(limits)
    member = zlib.decompressobj(_GZIP_WINDOW)
    members = 0  # whole ones
    begun = False  # whether bytes of the current one were seen
    for block in blocks:
        data = block
        while data:
            if not begun and members:
                data = data.lstrip(b"\0")  # padding between and after members is allowed
                if not data:
                    break
            begun = True
            out = _inflate(member, data, members)
            rest = member.unused_data if member.eof else member.unconsumed_tail
            growth.count(len(data) - len(rest), len(out))
            if out:
                yield out
            data = rest
            if member.eof:
                member, members, begun = zlib.decompressobj(_GZIP_WINDOW), members + 1, False
                growth.check_members(members)
    while begun and (out := _inflate(member, b"", members)):
        growth.count(0, len(out))
        yield out
    if begun and not member.eof:
        raise ModelLoadError("the archive is truncated: its gzip stream breaks off")


def _inflate(member: zlib._Decompress, data: bytes, members: int) -> bytes:
    try:
        return member.decompress(data, _OUT)
    except zlib.error as exc:
        text = str(exc)
    if "header" in text and members:
        raise ModelLoadError("the archive has bytes after its end that are no gzip")
    if "check" in text and "header" not in text:
        raise ModelLoadError("the archive is corrupt: its gzip checksum or length is wrong")
    raise ModelLoadError("the archive is corrupt: its gzip stream can't be unpacked")
