"""What a worker has been asked and has not answered: batches, loads, unloads, by message id.

Each is answered exactly once: by the worker's message, or by :meth:`Pending.fail` at its end. An
answer to what nobody asked, or for the second time, is a :class:`ProtocolError`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from mms.errors import from_code
from mms.fleet import payloads, wire
from mms.fleet.outcome import BatchDone, BatchLost, BatchOutcome, LostReason, WorkerLost
from mms.fleet.watch import Timed
from mms.types import Loaded

_log = logging.getLogger("mms.fleet")

OnDone = Callable[[BatchOutcome], None]


@dataclass(slots=True)
class _Batch(Timed):
    count: int = field(kw_only=True)
    on_done: OnDone = field(kw_only=True)


@dataclass(slots=True)
class _Load(Timed):
    model_id: int = field(kw_only=True)
    future: asyncio.Future[Loaded] = field(kw_only=True)


class Pending:
    def __init__(self) -> None:
        self.inflight = 0  # requests in batches
        self._batches: dict[int, _Batch] = {}
        self._loads: dict[int, _Load] = {}
        self._unloads: dict[int, asyncio.Future[None]] = {}
        self._last_id = 0

    @property
    def loading(self) -> bool:
        return bool(self._loads)

    @property
    def loads(self) -> int:
        return len(self._loads)

    @property
    def last_id(self) -> int:
        """How many messages there have been, too."""
        return self._last_id

    def next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def add_batch(self, count: int, limit_s: float, on_done: OnDone) -> int:
        ident = self.next_id()
        self._batches[ident] = _Batch(limit_s, count=count, on_done=on_done)
        self.inflight += count
        return ident

    def add_load(self, model_id: int, limit_s: float) -> tuple[int, asyncio.Future[Loaded]]:
        future: asyncio.Future[Loaded] = asyncio.get_running_loop().create_future()
        ident = self.next_id()
        self._loads[ident] = _Load(limit_s, model_id=model_id, future=future)
        return ident, future

    def add_unload(self) -> tuple[int, asyncio.Future[None]]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ident = self.next_id()
        self._unloads[ident] = future
        return ident, future

    def answer(self, message: wire.Message) -> int | None:
        """Take the worker's answer; returns a model to unload, if its load has been given up."""
        kind, ident, payload = message
        if kind == wire.RESULT:
            self._answer_batch(ident, payload)
        elif kind == wire.UNLOADED:
            future = self._unloads.pop(ident, None)
            if future is not None and not future.done():
                future.set_result(None)
        elif kind in {wire.LOADED, wire.FAILED} and ident in self._loads:
            return self._answer_load(kind, self._loads.pop(ident), payload)
        else:
            raise wire.ProtocolError("not for a worker to say, or not asked")
        return None

    def running(self, started: frozenset[int]) -> list[Timed]:
        """What has begun: the batches that say so, and the load that is first in line."""
        batches: list[Timed] = [self._batches[ident] for ident in started & self._batches.keys()]
        return batches + list(self._loads.values())[:1]

    def has_begun(self, model_id: int) -> bool:
        """Whether its load is the first in line."""
        first = next(iter(self._loads.values()), None)
        return first is not None and first.model_id == model_id

    def late(self, started: frozenset[int]) -> frozenset[int]:
        """The batches that are over their limit."""
        running = {ident: self._batches[ident] for ident in started & self._batches.keys()}
        return frozenset(i for i, batch in running.items() if batch.ran_s > batch.limit_s)

    def fail(
        self, started: frozenset[int], reason: LostReason, blamed: frozenset[int] | None
    ) -> None:
        """The worker has ended. ``blamed``: the batches it was killed for, where it was for some.

        What merely ran beside those was killed with it.
        """
        batches, self._batches = self._batches, {}
        for ident, batch in batches.items():
            is_bystander = blamed is not None and ident in started - blamed
            why: LostReason = "killed" if is_bystander else reason
            self._finish(batch, BatchLost(started=ident in started, reason=why))
        loads, self._loads = self._loads, {}
        began = not blamed and reason not in {"killed", "retired"}  # else it was not for a load
        for load in loads.values():
            if not load.future.done():
                load.future.set_exception(WorkerLost(reason, began=began))
            began = False  # only the first in line had
        unloads, self._unloads = self._unloads, {}
        for future in unloads.values():
            if not future.done():
                future.set_result(None)  # its memory is gone with it

    def _answer_batch(self, ident: int, payload: bytes) -> None:
        batch = self._batches.get(ident)
        if batch is None:
            raise wire.ProtocolError("a result that nobody asked for")
        result = payloads.decode_result(payload, batch.count)
        del self._batches[ident]
        self._finish(batch, BatchDone(*result))

    def _answer_load(self, kind: int, load: _Load, payload: bytes) -> int | None:
        outcome = _decode(kind, payload)
        if load.future.done():  # given up meanwhile
            return load.model_id if isinstance(outcome, Loaded) else None
        if isinstance(outcome, Loaded):
            load.future.set_result(outcome)
        else:
            load.future.set_exception(outcome)
        return None

    def _finish(self, batch: _Batch, outcome: BatchOutcome) -> None:
        self.inflight -= batch.count
        try:
            batch.on_done(outcome)
        except Exception:  # noqa: BLE001 - a caller's bug is not to cost others their worker
            _log.exception("a batch's callback failed")


def _decode(kind: int, payload: bytes) -> Loaded | Exception:
    if kind == wire.LOADED:
        return payloads.decode_loaded(payload)
    return from_code(*payloads.decode_failed(payload))
