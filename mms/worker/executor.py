"""Runs batches: a few threads, one batch at a time for each model, its batches in order.

Models take turns, so that one with many batches waiting doesn't keep the others from a thread.
Quick models' batches are run by the thread that reads the socket: handing them over costs a good
part of what running them does. Whatever a model does, each request is answered exactly once, unless
the process dies; a model that was asked for but isn't here is said to be missing, not a crash.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Any, Final, NamedTuple, Protocol

from mms.fleet import payloads, wire
from mms.fleet.page import StatusPage
from mms.fleet.payloads import Reply, ReplyLike
from mms.worker.codecs import may_hold
from mms.worker.outbox import Outbox

INLINE_SLOT: Final = 0  # on the status page: the thread that reads the socket
INLINE_S: Final = 0.002  # a model that answers faster is quick
INLINE_BYTES: Final = 64 * 1024  # bigger batches are never quick, unpacked
INLINE_MOST_S: Final = 4 * INLINE_S  # nor are those that may take longer, by their size
_WEIGHT: Final = 0.2  # of the newest measurement in the average


class BatchResultLike(Protocol):
    @property
    def replies(self) -> Sequence[ReplyLike]: ...
    @property
    def rows(self) -> int: ...
    @property
    def predict_s(self) -> float: ...


class RunBatch(Protocol):
    def __call__(
        self, model: Any, requests: Sequence[tuple[bytes, bytes]], /, *, max_rows: int
    ) -> BatchResultLike: ...


class _Batch(NamedTuple):
    id: int
    requests: list[tuple[bytes, bytes]]
    size: int  # of its bodies, unpacked


class _Line:
    """A loaded model and the batches that wait for it."""

    __slots__ = ("busy", "may_block", "model", "run_bytes", "run_s", "waiting")

    def __init__(self, model: Any) -> None:
        self.model = model
        self.waiting: deque[_Batch] = deque()
        self.busy = False  # a thread has it, or it stands in the queue for one
        self.may_block = hasattr(model, "answer_raw")  # a script of its own: never quick
        self.run_s = 1.0  # average; not quick until it has shown to be
        self.run_bytes = 0.0  # the average that took so long

    def is_quick(self, size: int) -> bool:
        """Whether a batch of ``size`` bytes takes so little that it may keep all others waiting."""
        if self.may_block or self.run_s >= INLINE_S or size > INLINE_BYTES:
            return False
        return self.run_s * size <= INLINE_MOST_S * self.run_bytes or size <= self.run_bytes

    def learn(self, seconds: float, size: int) -> None:
        self.run_s += _WEIGHT * (seconds - self.run_s)
        self.run_bytes += _WEIGHT * (size - self.run_bytes)


class Executor:
    def __init__(
        self, run_batch: RunBatch, page: StatusPage, outbox: Outbox, *, threads: int, max_rows: int
    ) -> None:
        self._run_batch = run_batch
        self._page = page
        self._outbox = outbox
        self._max_rows = max_rows
        self._lines: dict[int, _Line] = {}
        self._lock = threading.Lock()  # over every line's waiting and busy
        self._ready: SimpleQueue[_Line] = SimpleQueue()
        self._begun = [0] * (INLINE_SLOT + 1 + threads)  # batches ever, by slot: one writer each
        self._done = list(self._begun)
        for slot in range(INLINE_SLOT + 1, INLINE_SLOT + 1 + threads):
            name = f"mms-run-{slot}"
            threading.Thread(target=self._work, args=(slot,), name=name, daemon=True).start()

    def add(self, model_id: int, model: Any) -> None:
        self._lines[model_id] = _Line(model)

    def remove(self, model_id: int) -> None:
        """Let the model go; batches that wait for it are answered with an error."""
        line = self._lines.pop(model_id, None)
        if line is None:
            return
        with self._lock:
            waiting, line.waiting = line.waiting, deque()
            # Here and now: the thread that ran its last batch still has the line.
            model, line.model = line.model, None
        del model  # not under the lock: a large one takes its time, and a script's may do anything
        for batch_id, requests, _ in waiting:
            self._refuse(batch_id, len(requests), "the model was unloaded")

    @property
    def idle_since(self) -> int | None:
        """None while a batch runs; else a number that is another one after the next has begun."""
        done = sum(self._done)
        return done if done == sum(self._begun) else None

    def submit(self, batch_id: int, payload: bytes) -> None:
        """Called by the thread that reads the socket."""
        model_id, requests = payloads.decode_batch(payload)
        line = self._lines.get(model_id)
        if line is None:
            self._refuse(batch_id, len(requests), "the model isn't loaded in this worker")
            return
        size = sum(may_hold(spec, body) for spec, body in requests)
        with self._lock:
            quick = not line.busy and line.is_quick(size)
            if not quick:
                line.waiting.append(_Batch(batch_id, requests, size))
                if line.busy:
                    return
            line.busy = True
        if quick:
            self._run(INLINE_SLOT, line, _Batch(batch_id, requests, size))
            self._next(line)
        else:
            self._ready.put(line)

    def _work(self, slot: int) -> None:
        while True:
            line = self._ready.get()
            with self._lock:
                batch = line.waiting.popleft() if line.waiting else None
            if batch is not None:
                self._run(slot, line, batch)
                del batch
            self._next(line)
            del line  # or an idle thread would keep an unloaded model in memory

    def _next(self, line: _Line) -> None:
        with self._lock:
            line.busy = bool(line.waiting)
            if line.busy:
                self._ready.put(line)

    def _run(self, slot: int, line: _Line, batch: _Batch) -> None:
        batch_id, requests, size = batch
        self._page.start(slot, batch_id)
        self._begun[slot] += 1
        begun = time.perf_counter()
        parts = self._answer(line.model, requests)
        self._done[slot] += 1  # before it is said: an unload may follow at once
        line.learn(time.perf_counter() - begun, size)
        self._outbox.post(wire.RESULT, batch_id, parts)
        self._page.end(slot)

    def _answer(self, model: Any, requests: list[tuple[bytes, bytes]]) -> list[bytes]:
        try:
            result = self._run_batch(model, requests, max_rows=self._max_rows)
            if len(result.replies) == len(requests):
                return payloads.encode_result(result.replies, result.rows, result.predict_s)
            problem = Reply("ModelError", b"", b"the model answered another number of requests")
        except MemoryError:
            problem = Reply("InsufficientStorage", b"", b"out of memory while predicting")
        except BaseException as error:  # noqa: BLE001 - SystemExit too: user code runs here
            text = f"the model raised {type(error).__name__}"
            problem = Reply("ModelError", b"", text.encode())
        return payloads.encode_result([problem] * len(requests), 0, 0.0)

    def _refuse(self, batch_id: int, count: int, why: str) -> None:
        replies = [Reply("ModelError", b"", why.encode())] * count
        self._outbox.post(wire.RESULT, batch_id, payloads.encode_result(replies, 0, 0.0))
