"""What a run was asked for: read by every part, decided by the command line alone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """``only`` holds parts of row names; without one, everything is measured."""

    seconds: float = 2.0
    rounds: int = 5
    short: bool = False
    peers: bool = False
    own_generator: bool = False  # even where wrk is installed
    only: tuple[str, ...] = ()

    def wants(self, row: str) -> bool:
        return not self.only or any(part in row for part in self.only)
