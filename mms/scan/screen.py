"""What a scan shows a person: a bar while it works, a line an artifact, the summary at the end.

The bar goes to stderr and only to a terminal; the lines go to stdout. For machines there is one
JSON document instead.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mms.log.line import printable
from mms.scan.summary import counts, summary_line
from mms.scan.verdict import Verdict

_SHOWN: Final = 5


class Tick(Protocol):
    def __call__(self) -> None: ...


class Lines:
    """For people: what doesn't serve as it is, or everything."""

    def __init__(self, *, shows_all: bool) -> None:
        self._shows_all = shows_all
        self._console = Console(highlight=False, soft_wrap=True)

    def verdict(self, one: Verdict) -> None:
        if self._shows_all or one.status != "serves" or _is_odd(one):
            self._say(verdict_line(one))

    def end(self, prefix: str, verdicts: Sequence[Verdict], others: Sequence[str]) -> None:
        if others:
            self._say(others_line(others, shown=None if self._shows_all else _SHOWN))
        self._say(f"{prefix}: {summary_line(verdicts)}")

    def _say(self, line: str) -> None:
        """One line, with nothing that would move a cursor or color: it quotes others' words."""
        shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
        self._console.print(shown, markup=False, emoji=False)


class Document:
    """For machines."""

    def verdict(self, one: Verdict) -> None:
        """All at the end."""

    def end(self, prefix: str, verdicts: Sequence[Verdict], others: Sequence[str]) -> None:
        document = {
            "prefix": prefix,
            "models": [one.as_json() for one in sorted(verdicts, key=lambda v: v.target)],
            "others": list(others),
            "summary": {**counts(verdicts), "others": len(others)},
        }
        sys.stdout.write(json.dumps(document, indent=1) + "\n")


def _is_odd(one: Verdict) -> bool:
    return one.probe not in {None, "ok"}


def others_line(others: Sequence[str], *, shown: int | None) -> str:
    """Who was left out, so that nobody's model is missed in silence."""
    what = "object is no artifact by its name and was left out"
    if len(others) > 1:
        what = "objects are no artifacts by their names and were left out"
    more = len(others) - len(others[:shown])
    names = ", ".join(map(printable, others[:shown]))
    return f"{len(others):,} {what}: {names}" + (f" and {more:,} more (--all)" if more else "")


def verdict_line(one: Verdict) -> str:
    """One artifact in a line: target, what it is, what of it."""
    return "  ".join(filter(None, (one.target, one.format, _outcome(one), _figures(one))))


def _outcome(one: Verdict) -> str:
    if one.status == "serves":
        where = f" in {one.environment}" if one.environment else ""
        return f"serves{where}" + (f" ({one.message})" if one.message else "")
    if one.status == "needs":
        return f"needs {' and '.join(one.needs)}: {_why(one)}"
    return f"{'fails' if one.status == 'fails' else 'not read'}: {one.message}"


def _why(one: Verdict) -> str:
    if one.refused:
        more = len(one.refused) - _SHOWN
        names = ", ".join(one.refused[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
        return f"its pickle asks for {names}"
    return one.message


def _figures(one: Verdict) -> str:
    if one.load_s is None or one.memory_bytes is None:
        return ""
    odd = f", asked with made-up values: {one.probe}" if _is_odd(one) else ""
    return f"[{one.memory_bytes / 1e6:.1f} MB, loads in {one.load_s * 1000:.0f} ms{odd}]"


@contextmanager
def progress(total: int) -> Iterator[Tick]:
    """A bar of ``total`` steps; calling what it gives makes one."""
    console = Console(stderr=True)
    columns = (
        TextColumn("scanning"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("scan", total=total)
        yield lambda: bar.advance(task)
