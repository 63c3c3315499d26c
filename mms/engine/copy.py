"""A copy of a model: what the engine keeps beside the registry's entry while it is resident."""

from __future__ import annotations

from dataclasses import dataclass

from mms.engine.lane import Lane
from mms.engine.registry import ModelEntry
from mms.fleet.worker import Worker


@dataclass(slots=True, eq=False)
class Copy:
    """A model that is resident: the worker that holds it, and the lane to it."""

    worker: Worker
    lane: Lane


Entry = ModelEntry[Copy]
