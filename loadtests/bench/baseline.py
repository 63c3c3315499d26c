"""The regression guard: a run's ratios beside those of a committed run.

Ratios only, since times and rates are another machine's; each was taken within one round.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from loadtests.bench.rows import Better, Row

PATH = Path(__file__).with_name("baseline.json")
_KEPT = 0.9


def regressions(rows: Sequence[Row], path: Path = PATH) -> list[str]:
    """A sentence for each row that fell below 0.9 of what it was; none without a baseline."""
    if not path.exists():
        return []
    before = {row["name"]: row["value"] for row in json.loads(path.read_text())["rows"]}
    found = ((row, row.value, before.get(row.name)) for row in rows if row.unit == "x")
    return [
        f"{row.name}: {now:.2f}x, was {was:.2f}x ({share(row.better, now, was):.0%} of it)"
        for row, now, was in found
        if now is not None and was and share(row.better, now, was) < _KEPT
    ]


def share(better: Better, now: float, before: float) -> float:
    """How much of it is left, where less than one is worse."""
    if better == "higher":
        return now / before
    return before / now if now else 1.0
