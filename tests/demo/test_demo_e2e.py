"""``mms demo`` as a person runs it: once by itself, then to play with and stop, then killed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from mms.demo.main import FIRST
from mms.demo.models import RECIPES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(320)]

LIMIT_S = 300


def _command(*options: str) -> list[str]:
    return [sys.executable, "-m", "mms", "demo", *options]


def _environ() -> dict[str, str]:
    return {**os.environ, "MMS_PORT": "0"}  # any free port: other tests run beside this one


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A first ``--once`` in an empty folder: the folder, which the other tests use, and output."""
    folder = tmp_path_factory.mktemp("once")
    done = subprocess.run(
        _command("--once"),
        cwd=folder,
        env=_environ(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return folder, done.stdout


@contextlib.contextmanager
def _serving(folder: Path) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """A demo that has come to serve: the process and what it has printed so far."""
    process = subprocess.Popen(
        _command(),
        cwd=folder,
        env=_environ(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            if "until Ctrl-C" in line:
                break
        assert process.poll() is None, "\n".join(lines)
        yield process, lines
    finally:
        process.kill()
        process.communicate()


def _run(line: str, folder: Path) -> str:
    """What a line gives when it is pasted into a shell."""
    done = subprocess.run(
        ["sh", "-c", line], cwd=folder, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def _only(lines: list[str], *parts: str) -> str:
    (found,) = [line for line in lines if all(part in line for part in parts)]
    return found.strip()


def test_once_checks_every_model_and_ends_with_status_0(first: tuple[Path, str]) -> None:
    """At least 13 models answered cold from the store, and the second start finds all of it."""
    folder, output = first
    rows = [line.split() for line in output.splitlines() if " store " in line]
    assert len(rows) == len(RECIPES) + 1 >= 13
    assert {row[0] for row in rows} >= {recipe.target for recipe in RECIPES}
    assert "all equal to the models' own predictions" in output
    assert (folder / ".demo" / "models" / FIRST).is_file()


def test_the_lines_it_prints_work_and_ctrl_c_ends_all(first: tuple[Path, str]) -> None:
    """Each line is run as printed; then SIGINT: status 0, and no process is left."""
    folder, _ = first
    with _serving(folder) as (process, lines):
        assert any(", 0 of them new." in line for line in lines)
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 2
        answers = [_run(_only(lines, "-c ", "invoke_endpoint"), folder)]
        if shutil.which("curl"):
            answers.append(_run(_only(lines, "curl", "invocations"), folder))
        assert [json.loads(answer) for answer in answers] == [
            {"predictions": ["setosa", "versicolor", "virginica"]}
        ] * len(answers)
        assert f"prod/{FIRST}" in _run(_only(lines, "-c ", "boto3.resource"), folder)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 0
        assert not psutil.wait_procs(children, timeout=10)[1]


def test_killed_it_takes_its_children_along(first: tuple[Path, str]) -> None:
    """SIGKILL leaves no time to stop anything: the kernel does."""
    folder, _ = first
    with _serving(folder) as (process, _lines):
        children = psutil.Process(process.pid).children(recursive=True)
        began = time.monotonic()
        process.kill()
        assert not psutil.wait_procs(children, timeout=30)[1], time.monotonic() - began


def test_a_server_that_cannot_start_is_one_line(first: tuple[Path, str]) -> None:
    """Its own words, no traceback, status 1."""
    folder, _ = first
    done = subprocess.run(
        _command("--once"),
        cwd=folder,
        env={**_environ(), "MMS_WORKERS": "lots"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    (problem,) = [line for line in done.stdout.splitlines() if line.startswith("demo:")]
    assert "MMS_WORKERS" in problem
