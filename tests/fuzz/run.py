"""Runs mutated inputs in a child process that is bounded, and tells what was wrong with which.

The child (``python -m tests.fuzz.child``) makes the inputs itself from the seed, so that one number
is all there is to repeat a run. It writes each into a file before it is tried: when the child dies,
that file is the one. A child that is silent for too long is ended, and counts as one that died.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent.parent
SECONDS_EACH: Final = 40  # where it waits; where it works it has less
_START_S: Final = 60


class Broken(Exception):
    """The child can't even make its first input: nothing is tried, so nothing is found."""


@dataclass
class Report:
    """What came of one target; ``findings`` are files that hold inputs, by what they did."""

    target: str
    tried: int = 0
    refused: int = 0
    findings: dict[str, Path] = field(default_factory=dict)


def fuzz(target: str, *, seed: int, seconds: float, folder: Path, most: int = 1 << 62) -> Report:
    """Try for so long, or so many; goes on behind an input that killed the child.

    Raises Broken.
    """
    report = Report(target)
    folder.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + seconds
    while time.monotonic() < until and report.tried < most:
        if not _child(report, seed, until, folder, most):
            break
    return report


def once(target: str, path: Path) -> dict[str, str]:
    """What becomes of one kept input: ``made``, ``refused``, or ``fault`` and ``where``."""
    command = [sys.executable, "-m", "tests.fuzz.child", target, str(path.resolve())]
    try:
        done = subprocess.run(
            command, capture_output=True, cwd=ROOT, check=False, timeout=_START_S + SECONDS_EACH
        )
    except subprocess.TimeoutExpired:
        return {"fault": _ended(-9)}
    if done.returncode or not done.stdout:
        return {"fault": _ended(done.returncode)}
    told: dict[str, str] = json.loads(done.stdout)
    return told


def _ended(status: int) -> str:
    if status in {-9, -27}:
        return "took too long"
    return f"died by {-status}" if status < 0 else f"ended by {status}"


def _child(report: Report, seed: int, until: float, folder: Path, most: int) -> bool:
    """One child's life; whether another should follow it."""
    current, log = folder / f"{report.target}.current", folder / f"{report.target}.stderr"
    current.unlink(missing_ok=True)
    with log.open("wb") as stderr:
        process: subprocess.Popen[bytes] = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.child", report.target, str(seed), str(report.tried),
             str(current)],
            stdout=subprocess.PIPE, stderr=stderr, cwd=ROOT,
        )  # fmt: skip
    assert process.stdout is not None
    with process.stdout:
        lines = _Lines(process.stdout.fileno())
        patience: float = _START_S
        while time.monotonic() < until and report.tried < most:
            line = lines.next(patience)
            if line is None:
                break
            _count(report, json.loads(line), current)
            patience = SECONDS_EACH
        else:
            process.kill()
            process.wait()
            return False
        process.kill()
        how = process.wait()
    if not current.exists():
        said = log.read_text(errors="replace").strip().splitlines()
        raise Broken(f"the fuzzer's child doesn't start: {said[-1] if said else _ended(how)}")
    _keep(report, _ended(how), current)
    report.tried += 1
    return True


class _Lines:
    """Lines out of a pipe that may fall silent."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._text = b""

    def next(self, patience_s: float) -> bytes | None:
        """One line; None where none comes in time, or ever."""
        while b"\n" not in self._text:
            ready, _, _ = select.select([self._fd], [], [], patience_s)
            data = os.read(self._fd, 1 << 16) if ready else b""
            if not data:
                return None
            self._text += data
        line, _, self._text = self._text.partition(b"\n")
        return line


def _count(report: Report, told: dict[str, str], current: Path) -> None:
    report.tried += 1
    report.refused += "refused" in told
    if "fault" in told:
        _keep(report, f"{told['fault'][:200]} at {told['where']}", current)


def _keep(report: Report, what: str, current: Path) -> None:
    if what in report.findings:
        return
    kept = current.with_name(f"{report.target}-{report.tried}.input")
    kept.write_bytes(current.read_bytes())
    report.findings[what] = kept
