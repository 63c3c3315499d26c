"""What a process and its descendants take, by the kernel's count of shared and own pages."""

from __future__ import annotations

import time
from pathlib import Path

from loadtests.bench.processes import descendants

MB = 1e6
SETTLE_S = 0.3  # between two readings that have to agree
_STEADY = 0.005
_PATIENCE = 15


def tree(pid: int) -> list[int]:
    """The process and all below it."""
    return [pid, *descendants(pid)]


def pss(pid: int) -> int:
    """Bytes, shared pages shared out; 0 when the process has gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line[:4] == "Pss:")


def total(pids: list[int]) -> int:
    return sum(map(pss, pids))


def settled(pid: int) -> int:
    """Bytes of the whole tree once two readings agree, or of the last reading."""
    before = total(tree(pid))
    for _ in range(_PATIENCE):
        time.sleep(SETTLE_S)
        now = total(tree(pid))
        if abs(now - before) <= _STEADY * now:
            return now
        before = now
    return before
