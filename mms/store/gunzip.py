"""Gzip, undone block by block, with its checksum verified and its growth bounded.

Pulls blocks from an iterator and yields blocks; no file, no buffer beyond one block each way. What
the iterator raises passes through: a store that fails is not a corrupt artifact.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from mms.errors import ModelLoadError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mms.store.limits import Limits

MAGIC = b"\x1f\x8b"
_OUT = 1 << 20
_GZIP_WINDOW = 31
_MANY_MEMBERS = 1000
_MEMBER_BYTES = 512  # on average; block-wise writers take some 20,000


class _Ratio:
    """Refuses a stream that unpacks to absurdly more than it is."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._packed = 0
        self._unpacked = 0

    def count(self, packed: int, unpacked: int) -> None:
        self._packed += packed
        self._unpacked += unpacked
        if self._unpacked <= self._limits.ratio_floor_bytes:
            return
        if self._unpacked > self._limits.ratio * self._packed:
            raise ModelLoadError(
                f"the archive unpacks to more than {self._limits.ratio:g} times its size"
            )

    def check_members(self, members: int) -> None:
        """Refuse a stream cut into so many members that they alone keep a processor busy."""
        if members > _MANY_MEMBERS and self._packed < members * _MEMBER_BYTES:
            raise ModelLoadError("the archive is cut into absurdly many gzip members")


def gunzip(blocks: Iterator[bytes], limits: Limits) -> Iterator[bytes]:
    """The unpacked bytes of one gzip member, or of several that follow each other."""
    ratio = _Ratio(limits)
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
            ratio.count(len(data) - len(rest), len(out))
            if out:
                yield out
            data = rest
            if member.eof:
                member, members, begun = zlib.decompressobj(_GZIP_WINDOW), members + 1, False
                ratio.check_members(members)
    while begun and (out := _inflate(member, b"", members)):
        ratio.count(0, len(out))
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
