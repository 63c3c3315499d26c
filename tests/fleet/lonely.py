"""A runtime whose first worker lives, and all others end right after the fork."""

from __future__ import annotations

import itertools
import os

from tests.fleet.runtime import load_model, preload_modules, run_batch

__all__ = ["load_model", "preload_modules", "run_batch"]

_forks = itertools.count(1)
_latest = [0]


def _count() -> None:
    _latest[0] = next(_forks)


def _end() -> None:
    if _latest[0] > 1:
        os._exit(1)


os.register_at_fork(before=_count, after_in_child=_end)
