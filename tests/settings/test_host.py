"""The machine's facts, read from made-up /proc and /sys trees and from the real ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mms.settings.host import Host, free_disk, memory_limit, usable_cores

GIB = 1 << 30


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in {"proc/meminfo": "MemTotal:       16777216 kB\n", **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture
def _many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(16)))


@pytest.mark.usefixtures("_many_cores")
@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 16),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, 16),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "350000 100000\n"}, 3),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "garbage\n"}, 16),
        (
            {
                "proc/self/cgroup": "0::/pod/box\n",
                "sys/fs/cgroup/pod/cpu.max": "400000 100000",
                "sys/fs/cgroup/pod/box/cpu.max": "max 100000",
            },
            4,
        ),
        (
            {
                "proc/self/cgroup": "3:cpu,cpuacct:/docker/abc\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "200000",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
            },
            2,
        ),
        (
            {
                "proc/self/cgroup": "3:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            16,
        ),
    ],
)
def test_the_tightest_quota_says_how_many_cores(
    tmp_path: Path, files: dict[str, str], cores: int
) -> None:
    """Cores are the affinity's, cut by any quota of cgroup v1 or v2 at or above us."""
    assert usable_cores(write(tmp_path, files)) == cores


def test_affinity_cuts_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process pinned to three cores has three."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {1, 5, 7})
    assert usable_cores(write(tmp_path, {})) == 3


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, 16 * GIB),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/memory.max": "max"}, 16 * GIB),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/memory.max": str(2 * GIB)}, 2 * GIB),
        (
            {
                "proc/self/cgroup": "0::/a/b",
                "sys/fs/cgroup/a/memory.max": str(GIB),
                "sys/fs/cgroup/a/b/memory.max": str(3 * GIB),
            },
            GIB,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/a\n0::/",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
                "sys/fs/cgroup/memory/a/memory.limit_in_bytes": str(3 * GIB),
            },
            3 * GIB,
        ),
    ],
)
def test_the_tightest_limit_says_how_much_memory(
    tmp_path: Path, files: dict[str, str], limit: int
) -> None:
    """Memory is the machine's, cut by any limit of cgroup v1 or v2 at or above us."""
    assert memory_limit(write(tmp_path, files)) == limit


def test_this_machine_has_facts(tmp_path: Path) -> None:
    """The real trees can be read, and a folder that isn't there yet has its parent's disk."""
    host = Host.detect()
    assert host.cores >= 1
    assert host.memory_bytes > 64 << 20
    assert free_disk(tmp_path / "not" / "yet") > 0
