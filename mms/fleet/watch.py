"""Decides whether a worker hangs. Pure: fed with what is seen at each tick, it counts seen time.

Only time during which the front itself was running counts: after both were stopped (a frozen
container, a suspended machine) nobody is killed for a silence that nobody could break.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(slots=True)
class Timed:
    """A batch or a load that may take ``limit_s`` once it has begun."""

    limit_s: float
    ran_s: float = 0.0

    def is_over(self, seconds: float) -> bool:
        self.ran_s += seconds
        return self.ran_s > self.limit_s


class Watch:
    def __init__(self, *, tick_s: float, silent_s: float, busy_silent_s: float) -> None:
        self._longest_tick_s = 2 * tick_s
        self._silent_s = silent_s
        self._busy_silent_s = busy_silent_s
        self._heartbeat = -1
        self._quiet_s = 0.0

    def tick(
        self, elapsed_s: float, heartbeat: int, running: Iterable[Timed], *, loading: bool
    ) -> Literal["hung", "timeout"] | None:
        """What is wrong, if anything. ``running``: what has begun, batches and the load."""
        seen_s = min(elapsed_s, self._longest_tick_s)
        patience_s = self._busy_silent_s if loading else self._silent_s
        over = False
        for timed in running:
            over = timed.is_over(seen_s) or over
            # A model that may compute for long may hold the interpreter's lock for as long.
            patience_s = max(patience_s, timed.limit_s)
        if heartbeat != self._heartbeat:
            self._heartbeat, self._quiet_s = heartbeat, 0.0
        else:
            self._quiet_s += seen_s
        if over:
            return "timeout"
        return "hung" if self._quiet_s > patience_s else None
