"""Models with code of their own that wait for a file: for tests that say when, without clocks."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np

GIVE_UP_S = 60.0


def _wait_for(gate: Path) -> None:
    deadline = time.monotonic() + GIVE_UP_S
    while not gate.exists() and time.monotonic() < deadline:
        time.sleep(0.005)


class Gated:
    """Answers its process id once ``gate`` exists; says that it runs with ``<gate>.running``.

    A row of one number waits if that is 1. ``ballast`` is memory.
    """

    n_features_in_ = 1

    def __init__(self, gate: Path, nbytes: int = 0) -> None:
        self.gate = str(gate)
        self.ballast = np.ones(nbytes, dtype=np.uint8)

    def predict(self, rows: Any) -> Any:
        if np.asarray(rows).any():
            Path(self.gate + ".running").touch()
            _wait_for(Path(self.gate))
        return np.full(len(rows), os.getpid())


class GatedLoad:
    """Is unpickled once ``gate`` exists; answers 1."""

    n_features_in_ = 1

    def __init__(self, gate: Path) -> None:
        self.gate = str(gate)

    def __setstate__(self, state: dict[str, Any]) -> None:
        Path(state["gate"] + ".running").touch()
        _wait_for(Path(state["gate"]))
        self.__dict__.update(state)

    def predict(self, rows: Any) -> Any:
        return np.ones(len(rows))
