"""A runtime whose workers end right after the fork."""

from __future__ import annotations

import os

from tests.fleet.runtime import load_model, preload_modules, run_batch

__all__ = ["load_model", "preload_modules", "run_batch"]

os.register_at_fork(after_in_child=lambda: os._exit(1))
