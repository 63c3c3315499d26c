"""Preloaded into a zygote, it makes every second fork fail, as where processes are limited."""

from __future__ import annotations

import itertools
import os

_FORK = os.fork
_CALLS = itertools.count()


def _fork() -> int:
    if next(_CALLS) % 2:
        raise BlockingIOError(11, "no more processes")
    return _FORK()


os.fork = _fork
