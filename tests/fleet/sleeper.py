"""A runtime whose workers never get ready."""

from __future__ import annotations

import os
import time

from tests.fleet.runtime import load_model, preload_modules, run_batch

__all__ = ["load_model", "preload_modules", "run_batch"]

os.register_at_fork(after_in_child=lambda: time.sleep(60))
