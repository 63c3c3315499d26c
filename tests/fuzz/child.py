"""The process that tries mutated inputs, one after the other, for ever: see ``tests.fuzz.run``."""

from __future__ import annotations

import os
import random
import resource
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.fuzz import texts
from tests.hostile.entrances import FUZZED, outcome, say

MEMORY: Final = 1 << 30
SECONDS: Final = 8  # of processor time


def _pickle(rng: random.Random) -> bytes:
    from tests.fuzz import pickles  # scikit-learn takes seconds that the others needn't

    return pickles.mutated(rng)


def _archive(rng: random.Random) -> bytes:
    from tests.fuzz import archives  # the same

    return archives.mutated(rng)


def _npy(rng: random.Random) -> bytes:
    from tests.fuzz import arrays  # the same

    return arrays.npy(rng)


def _npz(rng: random.Random) -> bytes:
    from tests.fuzz import arrays  # the same

    return arrays.npz(rng)


MUTATORS: Final[dict[str, Callable[[random.Random], bytes]]] = {
    "unpickler": _pickle,
    "archive": _archive,
    "json": texts.json_body,
    "jsonlines": texts.json_lines,
    "csv": texts.csv_body,
    "npy": _npy,
    "npz": _npz,
    "manifest": texts.manifest,
    "target": texts.target,
}
"""Of the targets, those for which there is an entrance."""
ABOUT: Final = {
    "unpickler": "model files: pickles of scikit-learn models, opcode by opcode",
    "archive": ".tar.gz artifacts: fields of their headers",
    "json": "JSON bodies",
    "jsonlines": "JSON Lines bodies",
    "csv": "CSV bodies",
    "npy": ".npy bodies: headers and values",
    "npz": ".npz bodies: named arrays, sparse matrices, the zip around them",
    "manifest": "manifest.json",
    "target": "names of models",
}


def entrance(target: str) -> Callable[[bytes, Path], str] | None:
    """Where inputs of a target go in; a codec is there under its content type."""
    types = {"json": "application/json", "jsonlines": "application/jsonlines", "csv": "text/csv",
             "npy": "application/x-npy", "npz": "application/x-npz"}  # fmt: skip
    return FUZZED.get(types.get(target, target))


def targets() -> list[str]:
    return [target for target in MUTATORS if entrance(target) is not None]


def main(target: str, seed: int, first: int, current: Path) -> None:
    warnings.simplefilter("ignore")
    MUTATORS[target](random.Random(0))  # imports, and fits what is to be mutated
    _bound()
    number = first
    while True:
        body = MUTATORS[target](random.Random(f"{seed} {target} {number}"))
        current.write_bytes(body)
        say(attempt(target, body))
        number += 1


def attempt(target: str, body: bytes) -> dict[str, str]:
    """What becomes of one input; an endless one ends the process."""
    enter = entrance(target)
    assert enter is not None
    with tempfile.TemporaryDirectory() as folder:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        told = outcome(lambda: enter(body, Path(folder)))
        signal.setitimer(signal.ITIMER_PROF, 0)
    return told


def _bound() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[5])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def once(target: str, path: Path) -> None:
    warnings.simplefilter("ignore")
    _bound()
    say(attempt(target, path.read_bytes()))


if __name__ == "__main__":
    if len(sys.argv) == 3:
        once(sys.argv[1], Path(sys.argv[2]))
    else:
        main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
