"""``python -m tests.fuzz [--seconds N] [--seed N] [--target NAME]``: tells what it found."""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from pathlib import Path

from tests.fuzz.child import targets
from tests.fuzz.run import fuzz


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--seconds", type=float, default=120, help="in all (default: 120)")
    parser.add_argument("--seed", type=int, help="of an earlier run, to repeat it")
    parser.add_argument("--target", choices=targets(), help="only this one")
    given = parser.parse_args()
    seed = secrets.randbelow(1 << 31) if given.seed is None else given.seed
    chosen = [given.target] if given.target else targets()
    folder = Path(tempfile.mkdtemp(prefix="mms-fuzz-"))
    found = 0
    sys.stdout.write(f"seed {seed}\n")
    shares = {name: 3.0 if name == "unpickler" else 1.0 for name in chosen}
    for name in chosen:
        seconds = given.seconds * shares[name] / sum(shares.values())
        report = fuzz(name, seed=seed, seconds=seconds, folder=folder)
        sys.stdout.write(f"{name}: {report.tried} inputs, {report.refused} refused\n")
        for what, path in report.findings.items():
            found += 1
            sys.stdout.write(f"  FOUND {what}\n    {path}\n")
        sys.stdout.flush()
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
