"""The fuzzer's short form: a fixed seed, a few seconds, nothing found; and it would find."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.child import MUTATORS, targets
from tests.fuzz.run import fuzz

INPUTS = 150


@pytest.mark.parametrize("target", targets())
def test_nothing_is_found(target: str, tmp_path: Path) -> None:
    """Whatever comes in, only our own errors come out, and no process dies of it."""
    report = fuzz(target, seed=20, seconds=60, folder=tmp_path, most=INPUTS)
    assert report.findings == {}
    assert report.tried >= INPUTS
    assert report.refused > INPUTS // 10, "the inputs are hostile at all"
    assert report.refused < report.tried * 0.95, "and get in deep enough to do harm"


@pytest.mark.parametrize("target", targets())
def test_inputs_follow_from_the_seed(target: str) -> None:
    """The same seed makes the same inputs, another one others."""
    import random

    make = MUTATORS[target]
    again = [make(random.Random(f"{seed}")) for seed in (1, 1, *range(2, 12))]
    assert again[0] == again[1]
    assert len(set(again)) > 2


@pytest.mark.parametrize(
    ("deed", "what"),
    [
        ("raise ValueError('x')", "ValueError: x"),
        ("os.abort()", "died by 6"),
        ("os._exit(3)", "ended by 3"),
    ],
)
def test_a_fault_is_found_and_its_input_kept(
    deed: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is raised, and what kills the child, is told; fuzzing goes on behind it."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, tests.hostile.entrances as e\n"
        "def enter(body, folder):\n"
        "    if len(body) % 3 == 0:\n"
        f"        {deed}\n"
        "    return 'fine'\n"
        "e.FUZZED['target'] = enter\n"
    )
    root = str(Path(__file__).parent.parent.parent)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{root}")
    report = fuzz("target", seed=1, seconds=60, folder=tmp_path / "found", most=12)
    (found,) = report.findings
    assert found.startswith(what)
    assert len(report.findings[found].read_bytes()) % 3 == 0
    assert report.tried >= 12
