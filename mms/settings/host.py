"""What this machine gives us: cores, memory, disk, a terminal. The facts behind the defaults.

Containers lie: the kernel's totals are the machine's, the cgroup (v1 or v2, at any level above
us) holds the real limits, so the smallest wins. Reads ``/proc`` and ``/sys`` only; never writes.
Anything unreadable counts as "no limit".
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The facts that settings are resolved against."""

    cores: int
    memory_bytes: int
    terminal: bool  # whether stderr is one

    @classmethod
    def detect(cls) -> Host:
        return cls(
            cores=usable_cores(),
            memory_bytes=memory_limit(),
            terminal=sys.stderr is not None and sys.stderr.isatty(),
        )


def usable_cores(root: Path = _ROOT) -> int:
    """Cores we may really use: scheduler affinity, cut by the tightest cgroup quota; at least 1."""
    cores = float(len(os.sched_getaffinity(0)))
    for text in _cgroup_files(root, "", "cpu.max"):
        quota, _, period = text.partition(" ")
        cores = min(cores, _ratio(quota, period))
    for folder in _cgroup_folders(root, "cpu"):
        quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        cores = min(cores, _ratio(quota, period))
    return max(1, int(cores))


def memory_limit(root: Path = _ROOT) -> int:
    """Bytes of memory we may use: the machine's, cut by the tightest cgroup limit."""
    texts = (
        *_cgroup_files(root, "", "memory.max"),
        *_cgroup_files(root, "memory", "memory.limit_in_bytes"),
    )
    return min([_machine_memory(root), *(int(t) for t in texts if t.isdigit() and int(t) > 0)])


def free_disk(folder: Path) -> int:
    """Bytes we may still write where ``folder`` is or will be."""
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    facts = os.statvfs(place)
    return facts.f_bavail * facts.f_frsize


def _machine_memory(root: Path) -> int:
    for line in _read(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _cgroup_files(root: Path, controller: str, name: str) -> Iterator[str]:
    for folder in _cgroup_folders(root, controller):
        if text := _read(folder / name):
            yield text


def _cgroup_folders(root: Path, controller: str) -> Iterator[Path]:
    """The cgroup folders that bind us, innermost first; ``controller`` "" is version 2.

    Inside a container /proc/self/cgroup may name a path that only the machine sees, so folders
    that are missing are passed over by the caller and the mount's own root is always included.
    """
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        if controller not in names.split(","):
            continue
        inner = Path(path.lstrip("/"))
        for mount in _mounts(root, names, controller):
            for folder in (inner, *inner.parents):
                yield mount / folder


def _mounts(root: Path, names: str, controller: str) -> tuple[Path, ...]:
    base = root / "sys/fs/cgroup"
    return (base / names, base / controller) if controller else (base, base / "unified")


def _ratio(quota: str, period: str) -> float:
    """Cores a CPU quota allows; "max", -1, and nonsense are no limit."""
    if quota.isdigit() and period.isdigit() and int(quota) > 0 and int(period) > 0:
        return int(quota) / int(period)
    return float("inf")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
