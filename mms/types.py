"""The nouns that cross module borders. Data only: no behaviour, no I/O, no framework types."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NewType

TargetModel = NewType("TargetModel", str)
"""A validated target: relative key below the prefix; made by ``mms.target.parse_target`` only."""

Tier = Literal["memory", "disk", "store"]
"""Where a model was when the request came."""


@dataclass(frozen=True)
class Artifact:
    """An artifact on this machine, unpacked and ready to be loaded."""

    path: Path  # the folder that holds its file or files
    etag: str  # the store's own version of it, opaque
    version: str  # short public form of the etag or digest, [0-9A-Za-z]{1,12}
    sha256: str  # of the bytes as fetched; "" for a folder served in place
    unpacked_bytes: int


@dataclass(frozen=True)
class Loaded:
    """What a worker says of a model it has loaded; comes back in one LOADED reply."""

    format: str
    bytes: int  # measured growth of the worker's heap
    methods: tuple[str, ...]
    batchable: bool
    signature: dict[str, object] = field(default_factory=dict)
    load_s: float = 0.0
    keeps_files: bool = False  # it may read its files later, too: they stay as long as it does


@dataclass(frozen=True)
class Invocation:
    """One request as the front passes it on: the front never looks into ``body``."""

    spec: bytes  # what the worker has to know, made by ``mms.media.encode_spec``; cached, shared
    body: bytes


@dataclass
class Answer:
    """A model's answer to one invocation, with the phases' times in seconds."""

    body: bytes
    content_type: bytes
    tier: Tier = "memory"
    version: str = ""
    queue_s: float = 0.0
    fetch_s: float | None = None
    load_s: float | None = None
    predict_s: float = 0.0


@dataclass(frozen=True)
class ModelListing:
    """A loaded model as ``GET /models`` shows it."""

    name: str
    url: str
