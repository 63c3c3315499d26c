"""How much more may come out of a compressed stream than went in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mms.errors import ModelLoadError

if TYPE_CHECKING:
    from mms.store.limits import Limits

_MANY_PIECES = 1000
_PIECE_BYTES = 512  # on average; block-wise writers take some 20,000


class Growth:
    """What has gone in and come out so far; refuses a bomb while it is still small."""

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
        """Refuse a gzip cut into so many members that they alone keep a processor busy."""
        self._refuse_if_many(members, self._packed, "gzip members")

    def check_pieces(self, pieces: int) -> None:
        """The same of zstd's frames and blocks, of which a tiny one may stand for a big one."""
        self._refuse_if_many(pieces, self._packed + self._unpacked, "zstd blocks")

    def _refuse_if_many(self, pieces: int, size: int, what: str) -> None:
        if pieces > _MANY_PIECES and size < pieces * _PIECE_BYTES:
            raise ModelLoadError(f"the archive is cut into absurdly many {what}")
