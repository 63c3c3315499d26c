"""The single-writer table of models: where each is, who uses it, what has to go for what.

Pure: every method is synchronous, touches no I/O and returns what there is to do; the engine does
it. ``check_valid`` asserts the invariants, and a state machine in the tests hammers them.

An entry is pinned from the moment a request asks for it until that request is answered, and while
a batch of its runs, be those who asked gone. What is READY and not pinned stands in ``_evictable``,
an LRU of bytes; so eviction never meets what is in use, and making room is constant time per
victim.
"""

from __future__ import annotations

import enum
import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from cachetools import LRUCache

from mms.engine.sizes import SizeBook
from mms.errors import InsufficientStorage, NoRoom
from mms.types import Artifact, Loaded, Tier

C = TypeVar("C")
HEADROOM = 1 / 16  # of the capacity: what a load may use before others have to go for it


class ModelState(enum.Enum):
    FETCHING = "fetching"
    LOADING = "loading"
    READY = "ready"
    UNLOADING = "unloading"
    UNAVAILABLE = "unavailable"


@dataclass(slots=True, eq=False, kw_only=True)
class ModelEntry(Generic[C]):
    """One version of one model, from its first request to the end of its unloading."""

    key: str
    model_id: int  # never used again
    state: ModelState = ModelState.FETCHING
    tier: Tier = "store"  # where it was when its flight was opened
    copy: C | None = None  # the engine's: set while READY
    worker_id: int | None = None  # set from LOADING on
    bytes: int = 0  # reserved while LOADING, measured from READY on
    pins: int = 0
    hits: int = 0
    last_used: float = 0.0
    artifact: Artifact | None = None
    loaded: Loaded | None = None
    fetch_s: float | None = None
    load_s: float | None = None

    def __repr__(self) -> str:
        return f"<{self.key} {self.state.value} pins={self.pins} bytes={self.bytes}>"


class ModelRegistry(Generic[C]):
    """See the module. ``capacity`` is what models may take, in bytes; it may change at any time.

    ``ceiling`` is what it can come back to: what is larger can never fit.
    """

    def __init__(self, *, capacity: int, clock: Callable[[], float], evicts: bool = True) -> None:
        self.capacity = self.ceiling = capacity
        self.sizes = SizeBook()
        self._clock = clock
        self._evicts = evicts
        self._ids = itertools.count(1)
        self._table: dict[str, ModelEntry[C]] = {}
        self._leaving: dict[int, ModelEntry[C]] = {}  # UNLOADING, by model id
        self._evictable: LRUCache[str, ModelEntry[C]] = LRUCache(
            math.inf, getsizeof=lambda entry: entry.bytes
        )
        self._loaded_bytes = 0  # READY and UNLOADING
        self._leaving_bytes = 0  # UNLOADING
        self._reserved_bytes = 0  # LOADING

    # -- what the engine asks -------------------------------------------------------------------

    @property
    def resident_bytes(self) -> int:
        """What loaded models take, those on their way out included."""
        return self._loaded_bytes

    @property
    def reserved_bytes(self) -> int:
        return self._reserved_bytes

    @property
    def is_overcommitted(self) -> bool:
        """More is loaded and reserved than may be: loads wait for those on their way out."""
        return self._loaded_bytes + self._reserved_bytes > self.capacity

    def entries(self) -> Iterable[ModelEntry[C]]:
        return self._table.values()

    def ready(self) -> list[ModelEntry[C]]:
        return [e for e in self._table.values() if e.state is ModelState.READY]

    def entries_of(self, worker_id: int) -> list[ModelEntry[C]]:
        """What is loaded in this worker or on its way out of it."""
        everyone = itertools.chain(self._table.values(), self._leaving.values())
        return [e for e in everyone if e.worker_id == worker_id]

    def find(self, key: str) -> ModelEntry[C] | None:
        """The entry as it is, without using it."""
        return self._table.get(key)

    # -- using a model --------------------------------------------------------------------------

    def acquire(self, key: str) -> ModelEntry[C]:
        """Pin the model's entry; a new one (FETCHING, no flight yet) where there is none."""
        entry = self._table.get(key)
        if entry is None:
            entry = ModelEntry(key=key, model_id=next(self._ids))
            self._table[key] = entry
        self.pin(entry)
        entry.hits += 1
        return entry

    def pin(self, entry: ModelEntry[C]) -> None:
        """Keep the entry from being unloaded, until ``release``."""
        if entry.pins == 0 and entry.state is ModelState.READY:
            del self._evictable[entry.key]
        entry.pins += 1

    def release(self, entry: ModelEntry[C]) -> None:
        """Give a pin back; the last one makes a READY entry the most recently used."""
        entry.pins -= 1
        if entry.pins == 0 and entry.state is ModelState.READY:
            entry.last_used = self._clock()
            self._evictable[entry.key] = entry

    # -- bringing a model -----------------------------------------------------------------------

    def reserve(
        self, entry: ModelEntry[C], artifact: Artifact, worker_id: int
    ) -> list[ModelEntry[C]]:
        """Set memory aside for a load: FETCHING becomes LOADING.

        Returns who has to be unloaded before the load may start, which is nobody as long as the
        load fits into what is free. Raises InsufficientStorage where it can never fit, NoRoom where
        it would if others weren't in use; nothing has changed then.
        """
        known = self.sizes.known(entry.key, artifact.etag)
        self._refuse_what_is_too_large(entry.key, max(artifact.unpacked_bytes, known or 0))
        estimate = min(self.sizes.estimate(entry.key, artifact), self.capacity)
        staying = self._loaded_bytes - self._leaving_bytes
        missing = staying + self._reserved_bytes + estimate - self.capacity
        self._refuse_without_room(entry.key, missing)
        entry.state = ModelState.LOADING
        entry.worker_id = worker_id
        entry.artifact = artifact
        entry.bytes = estimate
        self._reserved_bytes += estimate
        return self._evict(missing)

    def commit(self, entry: ModelEntry[C], loaded: Loaded, copy: C) -> list[ModelEntry[C]]:
        """The load is done: LOADING becomes READY; returns who has to be unloaded for it.

        Raises as ``reserve`` does when the measured size doesn't fit after all; the entry is then
        still LOADING, and the engine unloads it and calls ``unreserve`` or ``fail``.
        """
        assert entry.artifact is not None
        self.sizes.learn(entry.key, entry.artifact, loaded.bytes)
        self._refuse_what_is_too_large(entry.key, loaded.bytes)
        others = self._loaded_bytes - self._leaving_bytes + self._reserved_bytes - entry.bytes
        self._refuse_without_room(entry.key, others + loaded.bytes - self.capacity)
        self._reserved_bytes -= entry.bytes
        self._loaded_bytes += loaded.bytes
        entry.bytes = loaded.bytes
        entry.loaded, entry.copy = loaded, copy
        entry.state = ModelState.READY
        entry.last_used = self._clock()
        victims = self._evict(self.excess()) if self._evicts else []
        if entry.pins == 0:
            self._evictable[entry.key] = entry
        return victims

    def unreserve(self, entry: ModelEntry[C]) -> None:
        """The load was for nothing, but may be tried again: LOADING becomes FETCHING."""
        assert entry.state is ModelState.LOADING
        self._reserved_bytes -= entry.bytes
        entry.bytes = 0
        entry.worker_id = None
        entry.state = ModelState.FETCHING

    def fail(self, entry: ModelEntry[C]) -> None:
        """The flight ended without a model: the entry goes, with its reservation."""
        if entry.state is ModelState.LOADING:
            self._reserved_bytes -= entry.bytes
        entry.bytes = 0
        entry.state = ModelState.UNAVAILABLE
        if self._table.get(entry.key) is entry:
            del self._table[entry.key]

    # -- giving a model up ----------------------------------------------------------------------

    def excess(self) -> int:
        """Bytes over what may stay when nothing loads: the capacity less the headroom."""
        limit = int(self.capacity * (1 - HEADROOM))
        return self._loaded_bytes - self._leaving_bytes - limit

    def shrink(self) -> list[ModelEntry[C]]:
        """After the capacity has fallen: who has to be unloaded, least recently used first."""
        return self._evict(self.excess()) if self._evicts else []

    def retire(self, entry: ModelEntry[C]) -> None:
        """Take a READY entry out of the table; it is UNLOADING, whoever still uses it."""
        assert entry.state is ModelState.READY
        self._evictable.pop(entry.key, None)
        del self._table[entry.key]
        entry.state = ModelState.UNLOADING
        self._leaving[entry.model_id] = entry
        self._leaving_bytes += entry.bytes

    def unloaded(self, entry: ModelEntry[C]) -> None:
        """An UNLOADING entry's memory is back."""
        if self._leaving.pop(entry.model_id, None) is not None:
            self._loaded_bytes -= entry.bytes
            self._leaving_bytes -= entry.bytes
            entry.bytes = 0
            entry.copy = None
            entry.state = ModelState.UNAVAILABLE

    def worker_lost(self, worker_id: int) -> list[ModelEntry[C]]:
        """A worker is gone and its models with it; returns them. Loads fail by themselves."""
        gone = [e for e in self.ready() if e.worker_id == worker_id]
        for entry in gone:
            self.retire(entry)
        for entry in [e for e in self._leaving.values() if e.worker_id == worker_id]:
            self.unloaded(entry)
        return gone

    def bytes_of(self, worker_id: int) -> int:
        """What this worker's models take or have reserved."""
        return sum(e.bytes for e in self.entries_of(worker_id))

    # -- inside -----------------------------------------------------------------------------------

    def _refuse_what_is_too_large(self, key: str, size: int) -> None:
        """For good, or as long as other work needs the memory."""
        if size > max(self.ceiling, self.capacity):
            raise InsufficientStorage(
                f"{key} takes {size} bytes of memory, more than the {max(self.ceiling, 0)} that "
                "models may have here: raise MMS_MEMORY_BUDGET or use a larger machine"
            )
        if size > self.capacity:
            if not self._evicts:
                raise _nothing_left(key)
            raise NoRoom(
                f"no room for {key} just now: the workers need the memory for what they are at",
                retry_after_s=1.0,
            )

    def _refuse_without_room(self, key: str, missing: int) -> None:
        if missing <= 0 or (self._evicts and missing <= self._evictable.currsize):
            return
        if not self._evicts:
            raise _nothing_left(key)
        raise NoRoom(f"no room for {key} just now: every loaded model is in use", retry_after_s=1.0)

    def _evict(self, missing: int) -> list[ModelEntry[C]]:
        victims: list[ModelEntry[C]] = []
        while missing > 0 and self._evictable:
            _, entry = self._evictable.popitem()
            self.retire(entry)
            missing -= entry.bytes
            victims.append(entry)
        return victims

    def check_valid(self) -> None:
        """Assert every invariant; for tests."""
        ready = {e.key: e for e in self.ready()}
        idle = {k for k, e in ready.items() if e.pins == 0}
        assert set(self._evictable) == idle, "evictable is exactly what is READY and not pinned"
        assert self._evictable.currsize == sum(ready[k].bytes for k in idle)
        assert all(e.state is ModelState.UNLOADING for e in self._leaving.values())
        assert not {ModelState.UNLOADING, ModelState.UNAVAILABLE} & {
            e.state for e in self._table.values()
        }
        loading = [e for e in self._table.values() if e.state is ModelState.LOADING]
        assert self._reserved_bytes == sum(e.bytes for e in loading)
        assert self._leaving_bytes == sum(e.bytes for e in self._leaving.values())
        assert self._loaded_bytes == self._leaving_bytes + sum(e.bytes for e in ready.values())
        assert all(e.pins >= 0 for e in self._table.values())
        assert all(k == e.key for k, e in self._table.items())


def _nothing_left(key: str) -> InsufficientStorage:
    return InsufficientStorage(f"no memory left for {key}: unload other models first")
