"""The disk tier: which artifacts are kept, within a budget that also holds what is being made.

Owns the index and its accounting, and is called from many threads: the lock is held for
bookkeeping only, never over I/O. An entry is idle (in LRU order, may go) or leased (being loaded
or read, stays). ``idle + leased + reserved + doomed`` never exceeds the budget, where *doomed* is
what is still being deleted: space is given out when it is really free.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from cachetools import LRUCache

from mms.errors import InsufficientStorage, NoRoom
from mms.store.layout import Entry, Layout
from mms.store.leases import Lease, Reservation
from mms.types import Artifact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from mms.store.archive import Unpacked

log = logging.getLogger("mms.store")

_OVERHEAD_BYTES = 3 * 4096  # an entry's two folders and its description


class DiskCache:
    """Artifacts below ``root``, at most ``budget_bytes`` of them; ``clock`` is wall time in ns.

    A budget that is a function is given the bytes that the cache holds already.
    """

    def __init__(
        self,
        root: Path,
        *,
        budget_bytes: int | Callable[[int], int],
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._clock = clock
        self._room = threading.Condition()
        self._leased: dict[str, tuple[Entry, int]] = {}
        self._latest: dict[tuple[str, str], str] = {}
        self._leased_bytes = 0
        self._reserved = 0
        self._doomed = 0
        self._layout = Layout(root)
        self._layout.sweep()
        found = self._layout.scan()
        if callable(budget_bytes):
            budget_bytes = budget_bytes(sum(entry.bytes for entry in found))
        self.budget_bytes = budget_bytes
        self._idle: LRUCache[str, Entry] = LRUCache(budget_bytes, getsizeof=_size)
        self._adopt(found)

    def __repr__(self) -> str:
        return (
            f"<DiskCache [{len(self._idle)} idle, {len(self._leased)} leased, "
            f"{self.bytes:,} of {self.budget_bytes:,} bytes]>"
        )

    @property
    def bytes(self) -> int:
        """What is taken of the budget, by entries and by what is being made or deleted."""
        return int(self._idle.currsize) + self._leased_bytes + self._reserved + self._doomed

    @property
    def entries(self) -> int:
        return len(self._idle) + len(self._leased)

    def is_memory(self) -> bool:
        return self._layout.is_memory()

    def lookup(self, store_id: str, target: str) -> Lease | None:
        """The newest version that is on the disk, whole."""
        with self._room:
            entry = self._find(self._latest.get((store_id, target), ""))
            if entry is None:
                return None
            self._pin(entry)
        lease = self._lease(entry)
        if self._layout.is_whole(entry):
            with suppress(OSError):  # only the order after a restart depends on it
                self._layout.touch(entry, self._clock())
            return lease
        with self._room:
            self._forget(entry)
        lease.release()
        return None

    def reserve(self, total: int) -> Reservation:
        """Room to make an artifact of ``total`` bytes or more."""
        self.refuse_oversize(total)
        new = self._layout.new_id()
        reservation = Reservation(self, new, self._layout.making(new))
        try:
            reservation.need(total)
        except BaseException:
            self.give_back(reservation)
            raise
        return reservation

    def remove(self, store_id: str, target: str) -> bool:
        """Drop a target's entry: now, or when its last lease ends. Whether there was one."""
        with self._room:
            entry = self._find(self._latest.get((store_id, target), ""))
            doomed = [] if entry is None else self._forget(entry)
        self._delete(doomed)
        return entry is not None

    def shed(self, wanted: int) -> list[Entry]:
        """Evict idle entries of at least ``wanted`` bytes, as far as there are any."""
        with self._room:
            victims = self._pop_idle(wanted)
        self._delete(victims)
        return victims

    def close(self) -> None:
        self._layout.close()

    def check_valid(self) -> None:
        """Assert what must hold between any two calls."""
        with self._room:
            assert self.bytes <= self.budget_bytes, repr(self)
            assert self._leased_bytes == sum(entry.bytes for entry, _ in self._leased.values())
            assert not self._leased.keys() & self._idle.keys()
            assert all(count > 0 for _, count in self._leased.values())
            assert set(self._idle) <= set(self._latest.values())
            for key, entry_id in self._latest.items():
                entry = self._find(entry_id)
                assert entry is not None
                assert entry.key == key

    def _adopt(self, found: list[Entry]) -> None:
        """Take over what the last server left, newest versions only, as far as the budget goes."""
        newest: dict[tuple[str, str], Entry] = {}
        for entry in found:
            if entry.key not in newest or newest[entry.key].stored_ns < entry.stored_ns:
                newest[entry.key] = entry
        kept: list[Entry] = []
        free = self.budget_bytes
        for entry in reversed(found):
            if newest[entry.key] is entry and entry.bytes <= free:
                free -= entry.bytes
                kept.append(entry)
            else:
                self._layout.remove(entry.id)
        for entry in reversed(kept):
            self._idle[entry.id] = entry
            self._latest[entry.key] = entry.id

    # What follows is called with the lock held, and does no I/O.

    def _find(self, entry_id: str) -> Entry | None:
        if entry_id in self._leased:
            return self._leased[entry_id][0]
        return self._idle.get(entry_id)

    def _pin(self, entry: Entry) -> None:
        if self._idle.pop(entry.id, None) is not None:
            self._leased_bytes += entry.bytes
        _, count = self._leased.get(entry.id, (entry, 0))
        self._leased[entry.id] = (entry, count + 1)

    def _forget(self, entry: Entry) -> list[Entry]:
        """No longer what its target means; what can be deleted at once is returned, as doomed."""
        if self._latest.get(entry.key) == entry.id:
            del self._latest[entry.key]
        if self._idle.pop(entry.id, None) is None:
            return []
        self._doomed += entry.bytes
        return [entry]

    def _pop_idle(self, wanted: int) -> list[Entry]:
        victims: list[Entry] = []
        while wanted > 0 and self._idle:
            _, entry = self._idle.popitem()
            del self._latest[entry.key]
            self._doomed += entry.bytes
            wanted -= entry.bytes
            victims.append(entry)
        return victims

    # What follows takes the lock itself.

    def _delete(self, doomed: Iterable[Entry]) -> None:
        for entry in doomed:
            try:
                self._layout.remove(entry.id)
            except OSError as exc:  # a disk that fails must not stop those who wait for room
                log.warning("could not delete a cache entry", extra={"error": exc.strerror})
            with self._room:
                self._doomed -= entry.bytes
                self._room.notify_all()

    def _lease(self, entry: Entry) -> Lease:
        artifact = Artifact(
            path=self._layout.files(entry),
            etag=entry.etag,
            version=short_version(entry.etag),
            sha256=entry.sha256,
            unpacked_bytes=entry.unpacked_bytes,
        )
        return Lease(entry, artifact, partial(self._release, entry))

    def _release(self, entry: Entry) -> None:
        doomed: list[Entry] = []
        with self._room:
            _, count = self._leased[entry.id]
            if count > 1:
                self._leased[entry.id] = (entry, count - 1)
                return
            del self._leased[entry.id]
            self._leased_bytes -= entry.bytes
            if self._latest.get(entry.key) == entry.id:
                self._idle[entry.id] = entry
            else:
                self._doomed += entry.bytes
                doomed.append(entry)
            self._room.notify_all()
        self._delete(doomed)

    def refuse_oversize(self, total: int) -> None:
        if total > self.budget_bytes:
            raise InsufficientStorage(
                f"the artifact needs {total:,} bytes of disk, more than the whole budget of "
                f"{self.budget_bytes:,} (MMS_DISK_BUDGET)"
            )

    def grow(self, reservation: Reservation, total: int) -> None:
        """Let ``reservation`` hold ``total``, and tell it what had to go for that."""
        self.refuse_oversize(total)
        while True:
            with self._room:
                missing = total - reservation.held - (self.budget_bytes - self.bytes)
                if missing <= 0:
                    self._reserved += total - reservation.held
                    reservation.held = total
                    return
                if self._idle.currsize < missing:
                    if self._doomed:  # another thread is about to free some
                        self._room.wait()
                        continue
                    raise NoRoom(
                        "the disk cache is full of models in use or on their way: try again soon"
                    )
                victims = self._pop_idle(missing)
            self._delete(victims)
            reservation.evicted += victims

    def commit(
        self, reservation: Reservation, store_id: str, target: str, etag: str, unpacked: Unpacked
    ) -> Lease:
        now = self._clock()
        entry = Entry(
            id=reservation.id,
            store=store_id,
            target=target,
            etag=etag,
            sha256=unpacked.sha256,
            bytes=unpacked.disk_bytes + _meta_bytes(unpacked.files),
            unpacked_bytes=unpacked.bytes,
            stored_ns=now,
        )
        reservation.need(entry.bytes)
        self._layout.publish(entry, unpacked.files, now)
        with self._room:
            self._reserved -= reservation.held
            reservation.held = 0
            older = self._find(self._latest.get(entry.key, ""))
            doomed = [] if older is None else self._forget(older)
            self._leased_bytes += entry.bytes
            self._leased[entry.id] = (entry, 1)
            self._latest[entry.key] = entry.id
            self._room.notify_all()
        self._delete(doomed)
        return self._lease(entry)

    def give_back(self, reservation: Reservation) -> None:
        self._layout.drop_unfinished(reservation.id)  # gone already, if it was committed
        with self._room:
            self._reserved -= reservation.held
            reservation.held = 0
            self._room.notify_all()


def short_version(etag: str) -> str:
    """The public form of an ETag: letters and digits, at most twelve."""
    return "".join(char for char in etag if char.isascii() and char.isalnum())[:12] or "0"


def _size(entry: Entry) -> int:
    return entry.bytes


def _meta_bytes(files: Mapping[str, int]) -> int:
    return _OVERHEAD_BYTES + sum(6 * len(name) + 40 for name in files)
