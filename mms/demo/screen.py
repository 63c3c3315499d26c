"""What the demo shows: a live table and a spinner on a terminal, plain lines anywhere else.

Owns all words' way to standard output.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mms.demo.measure import Row

HEADINGS = ("target", "format", "size", "tier", "cold ms", "warm ms")


def cells(row: Row) -> tuple[str, ...]:
    """A row as the table shows it."""
    return (
        row.target,
        row.format,
        size_text(row.size),
        row.tier,
        f"{row.cold_ms:.1f}",
        f"{row.warm_ms:.1f}",
    )


def size_text(size: int) -> str:
    """Bytes for people."""
    if size < 1000:
        return f"{size} B"
    return f"{size / 1000:.1f} kB" if size < 1_000_000 else f"{size / 1_000_000:.1f} MB"


class Screen:
    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)

    def say(self, text: str) -> None:
        """Prose: wrapped between words on a terminal."""
        self._console.print(text, markup=False, soft_wrap=not self._console.is_terminal)

    def line(self, text: str) -> None:
        """Something to copy: never wrapped."""
        self._console.print(text, markup=False, soft_wrap=True)

    def heading(self, text: str) -> None:
        self._console.print(f"\n[bold]{escape(text)}[/bold]", soft_wrap=True)

    def problem(self, text: str) -> None:
        self._console.print(f"[bold red]demo:[/bold red] {escape(text)}", soft_wrap=True)

    @contextmanager
    def step(self, text: str) -> Iterator[Callable[[str], None]]:
        """Something that takes a while; the callable tells how far it is."""
        if not self._console.is_terminal:
            self.say(f"{text} ...")
            yield lambda news: self.say(f"  {news}")
            return
        with self._console.status(escape(text)) as status:
            yield lambda news: status.update(f"{escape(text)}: {escape(news)}")

    @contextmanager
    def table(self) -> Iterator[Callable[[Row], None]]:
        """The table; the callable adds a row."""
        if not self._console.is_terminal:
            self.line(_line(HEADINGS))
            yield lambda row: self.line(_line(cells(row)))
            return
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for heading in HEADINGS:
            left = heading in {"target", "format", "tier"}
            table.add_column(heading, justify="left" if left else "right", no_wrap=True)
        with Live(table, console=self._console, vertical_overflow="visible") as live:

            def add(row: Row) -> None:
                table.add_row(*map(escape, cells(row)), style="red" if row.wrong else None)
                live.refresh()

            yield add


def _line(values: tuple[str, ...]) -> str:
    target, kind, size, tier, cold, warm = values
    return f"{target:<36} {kind:<7} {size:>9} {tier:<7} {cold:>8} {warm:>8}"
