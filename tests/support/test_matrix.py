"""The support matrix holds what passed, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.matrix import BEGIN, END, Fact, read, rendered, rewritten
from tests.support.server import ROOT

TESTS = """
import pytest

def proves(kind):
    return pytest.mark.supports(framework="F", input=kind, format="application/x")

@proves("numbers")
@proves("texts")
def test_passes(): pass

@proves("failures")
def test_fails(): assert False

@proves("skips")
def test_skips(): pytest.skip("not here")

@pytest.mark.parametrize("n", [pytest.param(1, marks=proves("one")), 2])
def test_parameters(n): pass

def test_late(request): request.node.add_marker(proves("late"))
"""


def _run(folder: Path, *options: str) -> set[str]:
    (folder / "test_it.py").write_text(TESTS)
    (folder / "conftest.py").write_text("from tests.conftest import *\n")
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = supports\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options]
    command += ["--support-matrix", str(folder / "facts.json")]
    environ = {"PYTHONPATH": str(ROOT), "PATH": ""}
    subprocess.run(command, cwd=folder, env=environ, capture_output=True, check=False)
    return {fact.input for fact in read(folder / "facts.json")}


@pytest.mark.parametrize("options", [(), ("-n", "1")])
def test_only_what_passed_counts(tmp_path: Path, options: tuple[str, ...]) -> None:
    """In one process or in xdist's; a marker may be a parameter's or be added at run time."""
    assert _run(tmp_path, *options) == {"numbers", "texts", "one", "late"}


def test_what_was_collected_counts_where_nothing_runs(tmp_path: Path) -> None:
    """So that a README can be held against the markers in no time."""
    assert _run(tmp_path, "--collect-only") == {"numbers", "texts", "failures", "skips", "one"}


def test_the_table_has_a_row_a_framework_and_a_column_a_format() -> None:
    """Sorted, so that it never changes by itself; a cell nobody proved is empty."""
    facts = [Fact("b", "y", "f/2"), Fact("A", "x", "f/1"), Fact("b", "x", "f/2")]
    lines = rendered(facts).splitlines()
    assert lines[0] == "| framework | `f/1` | `f/2` |"
    assert lines[2:] == ["| A | x |  |", "| b |  | x, y |"]
    text = rewritten(f"a\n{BEGIN}old\n{END}\nb", "new\n")
    assert text == f"a\n{BEGIN}new\n{END}\nb"
    with pytest.raises(ValueError, match="the README has no"):
        rewritten("nothing", "new\n")
