"""The regression guard: a run's ratios beside those of a committed run.

Ratios only, since times and rates are another machine's; each was taken within one round.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from loadtests.bench.rows import Row

PATH = Path(__file__).with_name("baseline.json")
_KEPT = 0.9


def regressions(rows: Sequence[Row], path: Path = PATH) -> list[str]:
    """A sentence for each row that fell below 0.9 of what it was; none without a baseline."""
    if not path.exists():
        return []
    before = {row["name"]: row["value"] for row in json.loads(path.read_text())["rows"]}
    compared = (row for row in rows if row.unit == "x" and before.get(row.name))
    shares = ((row, share(row, before[row.name])) for row in compared)
    return [
        f"{row.name}: {row.value:.2f}x, was {before[row.name]:.2f}x ({kept:.0%} of it)"
        for row, kept in shares
        if kept < _KEPT
    ]


def share(row: Row, before: float) -> float:
    """How much of it is left, where less than one is worse."""
    if row.better == "higher":
        return row.value / before
    return before / row.value if row.value else 1.0
