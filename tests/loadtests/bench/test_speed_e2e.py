"""A whole run, as small as it can be: real servers, checked answers, nothing left behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.support.server import ROOT, until

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

    def is_serving() -> bool:
        return any("mms" in child.cmdline() for child in me.children())

    until(is_serving, "a server is started")
    time.sleep(1)
    below = me.children(recursive=True)
    run.send_signal(how)
    assert run.wait(60) != 0
    until(lambda: not any(child.is_running() for child in below), "all of them are gone")


def test_a_name_that_no_row_has_is_refused() -> None:
    done = subprocess.run(
        [*BENCH, "--only", "nothing"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 2
    assert "no row" in done.stderr
