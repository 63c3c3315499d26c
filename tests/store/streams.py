"""An artifact's stream out of memory."""

from __future__ import annotations

from mms.errors import StoreUnavailable


class BytesStream:
    """Hands out ``body`` in pieces of at most ``piece`` bytes; fails after ``fails_at``."""

    def __init__(self, body: bytes, *, piece: int = 1 << 16, fails_at: int | None = None) -> None:
        self.etag = '"e"'
        self.size = len(body)
        self._body = body
        self._piece = piece
        self._fails_at = fails_at
        self._at = 0

    def read(self, n: int = -1, /) -> bytes:
        if self._fails_at is not None and self._at >= self._fails_at:
            raise StoreUnavailable("cut")
        end = self._at + (self._piece if n < 0 else min(n, self._piece))
        block, self._at = self._body[self._at : end], min(end, self.size)
        return block

    def close(self) -> None:
        pass
