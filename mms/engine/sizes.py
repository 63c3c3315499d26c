"""How much memory a model will take: known from an earlier load, else estimated.

A first estimate is the unpacked size times the ratio that earlier loads had, plus what even the
smallest session costs; every load teaches the exact size of its artifact version.
"""

from __future__ import annotations

from cachetools import LRUCache

from mms.types import Artifact

BASE_BYTES = 128 * 1024  # a tiny ONNX session measures 73 kB
FIRST_RATIO = 1.25
LEARN_FROM_BYTES = 1 << 20  # below it the fixed part hides the ratio
LEARNING_RATE = 0.2
MAX_RATIO = 8.0
REMEMBERED = 100_000


class SizeBook:
    """Measured sizes by (key, etag), and the ratio to estimate the others with."""

    def __init__(self) -> None:
        self.ratio = FIRST_RATIO
        self._known: LRUCache[tuple[str, str], int] = LRUCache(REMEMBERED)

    def known(self, key: str, etag: str) -> int | None:
        return self._known.get((key, etag))

    def estimate(self, key: str, artifact: Artifact) -> int:
        known = self.known(key, artifact.etag)
        if known is not None:
            return known
        return BASE_BYTES + int(artifact.unpacked_bytes * self.ratio)

    def learn(self, key: str, artifact: Artifact, measured: int) -> None:
        self._known[key, artifact.etag] = measured
        if artifact.unpacked_bytes >= LEARN_FROM_BYTES:
            seen = min(MAX_RATIO, max(1.0, measured / artifact.unpacked_bytes))
            self.ratio += LEARNING_RATE * (seen - self.ratio)
