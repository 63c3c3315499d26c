"""What a worker does with models unless it is told otherwise: ``loaders`` and ``batching``.

The zygote imports this module by name, so its imports are shared by every worker.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import loaders.load
import loaders.table
from loaders.base import Environment, LoadError, LoadOptions
from loaders.environment import OtherEnvironment
from mms import errors
from mms.worker.batching import run_batch

__all__ = ["load_model", "preload_modules", "run_batch"]


def preload_modules() -> list[str]:
    """What the zygote imports before it forks."""
    return loaders.table.preload_modules()


def load_model(folder: Path, options: dict[str, Any]) -> Any:
    """Load what is in ``folder``; ``options`` are LoadOptions' fields as JSON has them."""
    try:
        return loaders.load.load_model(folder, load_options(options))
    except LoadError as error:
        raise errors.ModelLoadError(str(error)) from None
    except OtherEnvironment as other:
        raise errors.OtherEnvironment(other.name) from None


def load_options(fields: dict[str, Any]) -> LoadOptions:
    """The options as JSON has them, as the loaders take them."""
    others = fields.get("environments", {})
    ready = {
        "allow_globals": frozenset(fields.get("allow_globals", ())),
        "environments": tuple(Environment(name, others[name]) for name in others),
    }
    return LoadOptions(**{**fields, **ready})
