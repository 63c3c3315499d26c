"""``python -m loadtests.bench``: measure, print, write, and say by the status what is wrong.

The status is 1 if a request failed or, with ``--short``, a ratio fell below 0.9 of the committed
one; a figure that isn't met is said, and is no failure of the run.
"""

from __future__ import annotations

import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Any

import click
from rich.console import Console

from loadtests.bench import baseline, machine, many, picture, report
from loadtests.bench.many import figures as many_figures
from loadtests.bench.options import Options
from loadtests.bench.outcome import Outcome
from loadtests.bench.rows import Row
from loadtests.bench.speed import figures as speed_figures
from loadtests.bench.speed import run as speed_run

_PARTS = (speed_run.run, many.measure)


def _names() -> str:
    speed = ", ".join(figure.name for figure in speed_figures.FIGURES)
    short, full = (
        ", ".join(f.name for f in many_figures.FIGURES if (f in many_figures.IN_SHORT) is is_short)
        for is_short in (True, False)
    )
    return (
        f"Throughput: {speed}. Many models: {short}; in the full run, or when named with --only: "
        f"{full}. With --short, sizes are smaller; a row that isn't measured whole says so and is "
        "held to nothing but the committed ratio."
    )


@click.command(epilog=_names())
@click.option("--short", is_flag=True, help="Some figures, under two minutes; the guard.")
@click.option("--seconds", type=click.FloatRange(min=0.1), help="A burst's length.  [2; short: 1]")
@click.option(
    "--rounds", type=click.IntRange(min=1), help="Bursts a server and cell.  [5; short: 3]"
)
@click.option("--only", multiple=True, metavar="NAME", help="Rows with this in their name.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write everything here.")
@click.option("--picture", "svg_path", type=click.Path(path_type=Path), help="Write an SVG here.")
@click.option("--peers", is_flag=True, envvar="PEERS", help="Other servers too, by pip.")
@click.option("--own-generator", is_flag=True, help="Load by the bundled generator, not by wrk.")
def main(
    *,
    short: bool,
    seconds: float | None,
    rounds: int | None,
    only: tuple[str, ...],
    json_path: Path | None,
    svg_path: Path | None,
    peers: bool,
    own_generator: bool,
) -> None:
    """Measure the server beside what one would write oneself, and beside the limits."""
    signal.signal(signal.SIGTERM, _leave)
    options = Options(
        seconds=seconds or (1.0 if short else 2.0),
        rounds=rounds or (3 if short else 5),
        short=short,
        peers=peers,
        own_generator=own_generator,
        only=only,
    )
    facts = machine.facts()
    outcome = _measure(options)
    worse = baseline.regressions(outcome.rows) if short else []
    _print(outcome)
    if json_path:
        report.write_json(json_path, report.as_json(outcome.rows, outcome.raw, facts, options))
    if svg_path:
        said = f"{facts['cores']} cores, {facts['processor']}, Python {facts['python']}"
        svg_path.write_text(picture.draw(outcome.rows, said))
    for sentence in worse:
        click.echo(f"worse than the baseline: {sentence}", err=True)
    if worse or any(row.errors for row in outcome.rows):
        sys.exit(1)


def _measure(options: Options) -> Outcome:
    rows: list[Row] = []
    raw: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for part in _PARTS:
            outcome = part(options, Path(folder), lambda line: click.echo(line, err=True))
            rows += outcome.rows
            raw |= outcome.raw
    if not rows:
        raise click.UsageError("no row has this in its name")
    return Outcome(tuple(rows), raw)


def _print(outcome: Outcome) -> None:
    console = Console(width=None if sys.stdout.isatty() else 140)
    if cells := outcome.raw.get("cells"):
        report.print_cells(console, cells)
    report.print_rows(console, outcome.rows)


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(143)  # an exception: what was started is ended on the way out


if __name__ == "__main__":
    main()
