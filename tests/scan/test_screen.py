"""What a scan writes to a terminal is lines of text, whoever chose the words."""

from __future__ import annotations

import pytest

from mms.scan.screen import Lines
from mms.scan.verdict import Verdict


def test_no_word_of_an_artifact_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Escape sequences, line ends and bidirectional marks are shown, not obeyed."""
    words = "a\x1b[2J\x1b]0;title\x07\x9b1m\nb\u202ec :bomb: [red]"
    verdict = Verdict(target=words, bytes=1, status="needs", needs=(words,), message=words)
    lines = Lines(shows_all=True)
    lines.verdict(verdict)
    lines.end("models/", [verdict], [])
    written = capsys.readouterr().out
    assert len(written.splitlines()) == 2
    assert all(line.isprintable() for line in written.splitlines())
    assert written.count(r"a\x1b[2J\x1b]0;title\x07\x9b1m\nb\u202ec :bomb: [red]") == 4
