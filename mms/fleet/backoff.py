"""How long to wait before a process is started again. Pure: no clock, no I/O."""

from __future__ import annotations

from typing import Final

_SETTLED_S: Final = 10.0  # lived so long: what ended it has nothing to do with its start
_FREE: Final = 3  # ends in a row, of one that had been ready, that cost no wait


class Backoff:
    """Doubling waits: from the first end before it was ready, from the fourth in a row after."""

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._row = 0

    def after(self, *, was_ready: bool, lived_s: float) -> float:
        """Seconds to wait now that it has ended."""
        if was_ready and lived_s >= _SETTLED_S:
            self._row = 0
        self._row += 1
        doublings = self._row - 1 - (_FREE if was_ready else 0)
        if doublings < 0:
            return 0.0
        return min(self._longest_s, self._first_s * 2.0 ** min(doublings, 30))
