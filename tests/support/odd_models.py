"""Models with code of their own, for prefixes that are trusted: slow, deadly, chatty ones."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import numpy as np


class Odd:
    """Does what its rows say: ``[seconds, deed]``. Answers the process id."""

    n_features_in_ = 2

    def predict(self, rows: Any) -> Any:
        for seconds, deed in np.asarray(rows):
            print("a model that prints")  # noqa: T201 - that is its deed
            sys.stdout.flush()
            time.sleep(float(seconds))
            if deed == 1:
                os._exit(13)
            if deed == 2:
                raise RuntimeError("this model failed\nsecond line of it")
            if deed == 3:
                raise MemoryError
        return np.full(len(rows), os.getpid())


class SlowToLoad:
    """Takes seconds to be unpickled."""

    n_features_in_ = 2

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __setstate__(self, state: dict[str, Any]) -> None:
        print("unpickled by", os.getpid(), flush=True)  # noqa: T201 - for who wants to kill it
        time.sleep(state["seconds"])
        self.__dict__.update(state)

    def predict(self, rows: Any) -> Any:
        return np.full(len(rows), self.seconds)


class DiesOnLoad:
    """Ends the process that unpickles it."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        os._exit(13)

    def __getstate__(self) -> dict[str, Any]:
        return {"x": 1}

    def predict(self, rows: Any) -> Any:
        return np.zeros(len(rows))


class WantsFour:
    """Takes four columns, and doesn't tell."""

    def predict(self, rows: Any) -> Any:
        if np.shape(rows)[1] != 4:
            raise RuntimeError("feature 1 is in the model but not in the pool")
        return np.zeros(len(rows))


class Quotes:
    """Fails, and says on what."""

    n_features_in_ = 2

    def predict(self, rows: Any) -> Any:
        raise RuntimeError(f"no good: {np.asarray(rows).tolist()}")
