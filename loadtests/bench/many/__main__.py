"""``python -m loadtests.bench.many [--only NAME...] [--short] [--details]``: this half alone."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence

from loadtests.bench.many import rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line a row; the exit code says whether one failed to be measured."""
    from loadtests.bench.many.run import SCENARIOS, line  # see loadtests.bench.many

    parser = argparse.ArgumentParser(prog="python -m loadtests.bench.many", description=__doc__)
    names = ", ".join(scenario.name for scenario in SCENARIOS)
    parser.add_argument(
        "--only", nargs="*", default=[], metavar="NAME", help=f"of {names}; or rows"
    )
    parser.add_argument("--short", action="store_true", help="smaller sizes and fewer rounds")
    parser.add_argument("--details", action="store_true", help="both sides' figures as JSON, too")
    options = parser.parse_args(arguments)
    known = {s.name for s in SCENARIOS} | {f.name for s in SCENARIOS for f in s.figures}
    if unknown := set(options.only) - known:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    failed = 0
    for row in rows(options):
        failed += "error" in row.details
        sys.stdout.write(line(row) + "\n")
        if options.details:
            sys.stdout.write(f"    {json.dumps(row.details)}\n")
        sys.stdout.flush()
    return 1 if failed else 0


def _end(*_: object) -> None:
    sys.exit(143)  # unwinds, so that the processes end


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
