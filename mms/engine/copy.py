"""A copy of a model: what the engine keeps beside the registry's entry while it is resident."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mms.engine.lane import Lane
from mms.engine.registry import ModelEntry
from mms.fleet.worker import Worker


@dataclass(slots=True, eq=False)
class Copy:
    """A model that is resident: the worker that holds it, and the lane to it."""

    worker: Worker
    lane: Lane
    files: Callable[[], None] | None = None  # lets its files go: it has them as long as it lives

    def let_files_go(self) -> None:
        """Once it is gone; more calls do nothing."""
        files, self.files = self.files, None
        if files is not None:
            files()


Entry = ModelEntry[Copy]
