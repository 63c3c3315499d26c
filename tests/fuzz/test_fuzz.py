"""The fuzzer's short form: a fixed seed, a few seconds, nothing found; and it would find."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.fuzz.__main__ import main
from tests.fuzz.child import MUTATORS, targets
from tests.fuzz.run import Broken, fuzz, once

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
    ((found, path),) = report.findings.items()
    assert found.startswith(what)
    assert len(path.read_bytes()) % 3 == 0
    assert report.tried >= 12
    assert once("target", path)["fault"].startswith(what)
    path.write_bytes(b"a")
    assert once("target", path) == {"made": "fine"}


def test_a_fuzzer_that_tries_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(Broken, match="doesn't start: KeyError: 'no-such-target'"):
        fuzz("no-such-target", seed=1, seconds=60, folder=tmp_path)


def test_help_says_how(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What the targets are, and what one may type."""
    monkeypatch.setattr(sys, "argv", ["fuzz", "--help"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert all(f"  {name} " in told for name in targets())
    assert "python -m tests.fuzz --target npz --seconds 20" in told


@pytest.mark.parametrize("words", [["--seconds", "0"], ["--input", "x"], ["--target", "x"]])
def test_what_cant_be_is_said(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["fuzz", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert words[0] in capsys.readouterr().err


def test_a_run_tells_what_it_did(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        sys, "argv", ["fuzz", "--target", "target", "--seconds", "2", "--seed", "7"]
    )
    assert main() == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "seed 7 (--seed 7 repeats this run), 2 s"
    assert told[1].startswith("target ")
    assert told[2] == "none found"
