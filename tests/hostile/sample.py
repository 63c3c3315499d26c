"""What a hostile sample is, and the canary that would sing if it did what it is made for."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

REFUSED = frozenset({422})


@dataclass(frozen=True)
class Sample:
    """``make`` gets the canary's folder; ``says`` is what the refusal must hold.

    ``statuses`` are those over HTTP. ``is_bomb`` says that it is only let loose in a process whose
    memory and time are bounded.
    """

    name: str
    make: Callable[[str], bytes]
    says: str
    suffix: str = ".pkl"
    statuses: frozenset[int] = REFUSED
    is_bomb: bool = False


def by_name(samples: Iterable[Sample]) -> dict[str, Sample]:
    """A table for ``parametrize``; no two samples share a name."""
    table: dict[str, Sample] = {}
    for sample in samples:
        assert sample.name not in table, sample.name
        table[sample.name] = sample
    return table


class Canary:
    """A folder with files to read, to overwrite and to cut short; samples know where it is.

    A sample may also start a process or a download: each would make the file ``ran`` here.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "precious").write_bytes(b"precious\n" * 100)
        (folder / "data.pkl").write_bytes(pickle.dumps({"a": 1}))
        (folder / "data.csv").write_text("a,b\n1,2\n")
        (folder / "data.json").write_text(json.dumps([1, 2]))
        np.save(folder / "data.npy", np.arange(3))
        np.savez(folder / "data.npz", a=np.arange(3))
        (folder / "run.py").write_text(f"open({str(folder / 'ran')!r}, 'w').close()\n")
        self._before = self._state()

    def _state(self) -> dict[str, tuple[bytes, int, int]]:
        state = {}
        for path in sorted(self.folder.rglob("*")):
            known = path.stat()
            data = path.read_bytes() if path.is_file() else b""
            state[path.name] = data, known.st_mode, known.st_mtime_ns
        return state

    def assert_silent(self) -> None:
        """Nothing was made, changed or removed here."""
        assert self._state() == self._before
