"""Blocks of bytes that arrive one after the other, handed out in the sizes that a format has.

Holds no more than the block it is at. What the blocks' iterator raises passes through: a store that
fails is not a corrupt artifact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Reader:
    """The bytes of ``blocks``, in order, once."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._left = memoryview(b"")

    def up_to(self, n: int) -> Iterator[memoryview]:
        """The next ``n`` bytes in pieces; fewer only at the end."""
        while n:
            if not self._left:
                self._left = memoryview(next(self._blocks, b""))
            if not self._left:
                return
            piece, self._left = self._left[:n], self._left[n:]
            n -= len(piece)
            yield piece

    def exactly(self, n: int) -> bytes:
        """``n`` bytes; fewer only at the end."""
        return b"".join(self.up_to(n))


def beginning(blocks: Iterator[bytes], n: int) -> bytes:
    """The first blocks in one, ``n`` bytes or more; fewer only at the end."""
    parts: list[bytes] = []
    while n > 0 and (block := next(blocks, b"")):
        parts.append(block)
        n -= len(block)
    return b"".join(parts)
