from __future__ import annotations

import io

import pytest
from rich.console import Console

from mms.demo.measure import Row
from mms.demo.models import RECIPES
from mms.demo.screen import HEADINGS, Screen, cells, size_text


def _row(target: str) -> Row:
    return Row(
        target=target,
        format="joblib",
        size=999_949,
        tier="store",
        cold_ms=1234.56,
        warm_ms=123.44,
        wrong="",
    )


def _shown(*, terminal: bool) -> str:
    out = io.StringIO()
    screen = Screen(Console(file=out, width=80, force_terminal=terminal, highlight=False))
    with screen.table() as add:
        for recipe in RECIPES:
            add(_row(recipe.target))
    return out.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_eighty_columns_show_every_cell(terminal: bool) -> None:
    """No target, number or heading is cut off, on a terminal or in a log."""
    shown = _shown(terminal=terminal)
    for text in (*HEADINGS, *cells(_row("")), *(recipe.target for recipe in RECIPES)):
        assert text in shown


def test_a_log_has_one_plain_line_a_row() -> None:
    """No colours, no cursor movement, no line drawn twice."""
    lines = _shown(terminal=False).splitlines()
    assert len(lines) == 1 + len(RECIPES)
    assert all("\x1b" not in line and len(line) <= 80 for line in lines)


def test_a_long_line_is_not_wrapped_and_brackets_are_text() -> None:
    """What is meant to be copied comes out as it went in."""
    out = io.StringIO()
    text = "curl " + "[bold]x[/bold] " * 30
    for terminal in (True, False):
        Screen(Console(file=out, width=40, force_terminal=terminal, highlight=False)).line(text)
    assert out.getvalue() == f"{text}\n{text}\n"


def test_prose_is_wrapped_for_people_and_not_for_logs() -> None:
    """Between words on a terminal; a log has one line for one thing said."""
    shown = []
    for terminal in (True, False):
        out = io.StringIO()
        Screen(Console(file=out, width=20, force_terminal=terminal, highlight=False)).say("ab " * 9)
        shown.append(out.getvalue().splitlines())
    assert [line.split() for line in shown[0]] == [["ab"] * 7, ["ab"] * 2]
    assert shown[1] == ["ab " * 9]


def test_progress_in_a_log_is_lines() -> None:
    """A CI log shows each step as it happens."""
    out = io.StringIO()
    with Screen(Console(file=out, width=80)).step("Training") as tell:
        tell("1 of 2 [x]")
    assert out.getvalue().splitlines() == ["Training ...", "  1 of 2 [x]"]


@pytest.mark.parametrize(
    ("size", "text"), [(522, "522 B"), (39_417, "39.4 kB"), (3_163_737, "3.2 MB")]
)
def test_sizes_read_well(size: int, text: str) -> None:
    """Three digits and a unit."""
    assert size_text(size) == text
