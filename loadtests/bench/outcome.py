"""What a part of the benchmark hands back: its rows, and everything that it measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from loadtests.bench.rows import Row

Tell = Callable[[str], None]  # a line of progress, for people


@dataclass(frozen=True, slots=True)
class Outcome:
    rows: tuple[Row, ...]
    raw: dict[str, Any] = field(default_factory=dict)  # JSON
