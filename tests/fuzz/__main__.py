"""``python -m tests.fuzz``: the fuzzer's command line; ``--help`` says what it does."""

from __future__ import annotations

import argparse
import secrets
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.fuzz.child import ABOUT, targets
from tests.fuzz.run import Broken, Report, fuzz, once

_ABOUT: Final = """\
Throws mutated inputs at the places where bytes from outside come in, and tells what broke: an
exception that isn't our own, a crash, a hang, too much memory, a file where none should be. Inputs
follow from a seed, so that the same seed finds the same again.
"""
_EXAMPLES: Final = """\
targets:
{targets}

examples:
  python -m tests.fuzz                             all of them, for two minutes
  python -m tests.fuzz --target npz --seconds 20   one of them, for 20 seconds
  python -m tests.fuzz --seed 7                    an earlier run again
  make fuzz FOR=600 SEED=7                         the same ways by make

Each finding names what happened, where, and the file that holds the input. To try that input again:
  python -m tests.fuzz --target npz --input FILE

The status is 0 if nothing was found, else 1.
"""


def main() -> int:
    given = _arguments()
    if given.input is not None:
        told = once(given.target, given.input)
        sys.stdout.write("".join(f"{name}: {text}\n" for name, text in told.items()))
        return 1 if "fault" in told else 0
    seed = secrets.randbelow(1 << 31) if given.seed is None else given.seed
    chosen = [given.target] if given.target else targets()
    folder = Path(tempfile.mkdtemp(prefix="mms-fuzz-"))
    sys.stdout.write(f"seed {seed} (--seed {seed} repeats this run), {given.seconds:g} s\n")
    shares = {name: 3.0 if name == "unpickler" else 1.0 for name in chosen}
    found = 0
    for name in chosen:
        seconds = given.seconds * shares[name] / sum(shares.values())
        report = fuzz(name, seed=seed, seconds=seconds, folder=folder)
        found += len(report.findings)
        _tell(report)
    sys.stdout.write(f"{found} found: their inputs are in {folder}\n" if found else "none found\n")
    if not found:
        shutil.rmtree(folder)
    return 1 if found else 0


def _arguments() -> argparse.Namespace:
    about = "\n".join(f"  {name:<10} {ABOUT[name]}" for name in targets())
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description=_ABOUT,
        epilog=_EXAMPLES.format(targets=about),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--seconds", type=_positive, default=120, metavar="N", help="for all targets together (120)"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="a number that a run began with")
    parser.add_argument("--target", choices=targets(), metavar="NAME", help="only this one")
    parser.add_argument("--input", type=Path, metavar="FILE", help="try one kept input, no others")
    given = parser.parse_args()
    if given.input is not None and given.target is None:
        parser.error("--input needs --target: it is tried there")
    return given


def _positive(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < 1e6:
        raise ValueError(text)
    return seconds


def _tell(report: Report) -> None:
    taken = report.tried - report.refused
    sys.stdout.write(
        f"{report.target:<10} {report.tried:>7} inputs, {report.refused} refused, {taken} taken\n"
    )
    for what, path in report.findings.items():
        sys.stdout.write(f"  FOUND {what}\n    {path}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except Broken as error:
        sys.exit(str(error))
