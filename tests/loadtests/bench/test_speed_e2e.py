"""A whole run, as small as it can be: real servers, checked answers, nothing left behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.server import ROOT, until

ECHO = "loadtests.bench.servers.echo"
BENCH = [sys.executable, "-m", "loadtests.bench", "--own-generator"]


@pytest.mark.e2e
def test_a_run_measures_prints_and_writes(tmp_path: Path) -> None:
    to, picture = tmp_path / "out.json", tmp_path / "out.svg"
    asked = ["--only", "onnx-echo-32", "--rounds", "2", "--seconds", "0.2"]
    done = subprocess.run(
        [*BENCH, *asked, "--json", str(to), "--picture", str(picture)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "tiny ONNX" in done.stdout
    found = json.loads(to.read_text())
    (row,) = found["rows"]
    assert row["name"] == "onnx-echo-32"
    assert len(row["values"]) == 2
    assert row["errors"] == 0
    assert {cell["side"] for cell in found["cells"]} == {"ours", "echo"}
    assert all(cell["medians"]["requests_per_s"] > 0 for cell in found["cells"])
    assert found["in_process"]["onnx"]["1"] > 0
    assert picture.read_text().startswith("<svg")


@pytest.mark.e2e
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_end_in_the_middle_leaves_nothing_behind(how: signal.Signals) -> None:
    asked = ["--only", "onnx-echo-32", "--rounds", "50", "--seconds", "0.2"]
    run = subprocess.Popen(
        [*BENCH, *asked], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT
    )
    me = psutil.Process(run.pid)

    def both_serve() -> bool:
        commands = [command(child) for child in me.children()]
        return all(any(name in one for one in commands) for name in ("mms", ECHO))

    until(both_serve, "both sides are started")
    below = me.children(recursive=True)
    run.send_signal(how)
    assert run.wait(60) != 0
    until(lambda: not any(map(is_alive, below)), "all of them are gone")


def command(process: psutil.Process) -> list[str]:
    """Its words; none once it has ended, which it may do while its line is read."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def is_alive(process: psutil.Process) -> bool:
    """Running, and not just waiting to be buried by whoever inherited it."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_name_that_no_row_has_is_refused() -> None:
    done = subprocess.run(
        [*BENCH, "--only", "nothing"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 2
    assert "no row" in done.stderr
