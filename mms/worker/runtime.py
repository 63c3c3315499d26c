"""What a worker does with models unless it is told otherwise: ``loaders`` and ``batching``.

The zygote imports this module by name, so its imports are shared by every worker.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import loaders.table
from loaders.base import LoadError, LoadOptions
from mms.errors import ModelLoadError
from mms.worker.batching import run_batch

__all__ = ["load_model", "preload_modules", "run_batch"]


def preload_modules() -> list[str]:
    """What the zygote imports before it forks."""
    return loaders.table.preload_modules()


def load_model(folder: Path, options: dict[str, Any]) -> Any:
    """Load what is in ``folder``; ``options`` are LoadOptions' fields as JSON has them."""
    fields = {**options, "allow_globals": frozenset(options.get("allow_globals", ()))}
    try:
        return loaders.table.load_model(folder, LoadOptions(**fields))
    except LoadError as error:
        raise ModelLoadError(str(error)) from None
