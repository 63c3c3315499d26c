"""One worker as the front sees it: load, unload, submit, and what becomes of all that when it dies.

Every batch is answered exactly once, on the loop: with replies, or as lost, and then the status
page says whether it had started. All state is changed on the loop by one thread.
"""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from mms.fleet import payloads, wire
from mms.fleet.channel import Channel
from mms.fleet.outcome import BatchLost, FleetOptions, LostReason, WorkerLost
from mms.fleet.page import StatusPage
from mms.fleet.pending import OnDone, Pending
from mms.fleet.watch import Timed, Watch
from mms.fleet.zygote import Zygote
from mms.types import Loaded

_log = logging.getLogger("mms.fleet")

_LAST_WORDS_S: Final = 0.5  # between the end of the socket and the end of the process
_FADES: Final = 0.9  # a tick: what was done ten ticks ago counts a third
_KILL_S: Final = 10.0  # a zygote that has killed nobody by then hangs itself


class Worker:
    """Made by :class:`mms.fleet.fleet.Fleet`; ``id`` is never used again."""

    def __init__(
        self,
        worker_id: int,
        *,
        page: StatusPage,
        zygote: Zygote,
        options: FleetOptions,
        on_ready: Callable[[Worker], None],
        on_gone: Callable[[Worker], None],
    ) -> None:
        self.id = worker_id
        self.pid = 0  # until it is forked
        self.ready = False  # once it is, it stays so
        self.alive = True
        self.retiring = False  # nothing new is to be placed here
        self.reason: LostReason = "crashed"  # once it is gone
        self.settled = asyncio.Event()  # ready, or gone
        self.gone = asyncio.Event()
        self.made_at = time.monotonic()
        self.lately = 0.0  # messages sent to it, fading
        self._sent = 0
        self._loop = asyncio.get_running_loop()
        self._page = page
        self._zygote = zygote
        self._options = options
        self._on_ready = on_ready
        self._on_gone = on_gone
        self._watch = Watch(
            tick_s=options.tick_s, silent_s=options.silent_s, busy_silent_s=options.busy_silent_s
        )
        self._starting = Timed(options.zygote_timeout_s)
        self._channel = Channel(self._on_message, self._on_close)
        self._pending = Pending()
        self._why: LostReason | None = None  # set by whoever ends it
        self._blamed: frozenset[int] | None = None  # the batches that it was killed for
        self._status: int | None = None
        self._said_ready = self._reaped = self._closed = False
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        state = "ready" if self.ready else "starting"
        state = state if self.alive else f"lost: {self.reason}"
        return f"<Worker {self.id} pid {self.pid} {state}, {self.inflight} in flight>"

    @property
    def channel(self) -> Channel:
        return self._channel

    @property
    def inflight(self) -> int:
        """Requests handed over and not answered."""
        return self._pending.inflight

    @property
    def loading(self) -> bool:
        return self._pending.loading

    @property
    def loads_pending(self) -> int:
        """How many it has been given and not answered; it does one at a time."""
        return self._pending.loads

    async def load(
        self,
        model_id: int,
        path: Path,
        options: Mapping[str, object],
        *,
        limit_s: float | None = None,
    ) -> Loaded:
        """Raises ModelLoadError, InsufficientStorage, WorkerLost.

        Cancelled, the load goes on in the worker, and the model is unloaded when it is there. After
        ``limit_s`` the worker is killed: there is no other way to stop a load.
        """
        if not self.alive:
            raise WorkerLost(self._why or "crashed", began=False)
        ident, future = self._pending.add_load(model_id, math.inf if limit_s is None else limit_s)
        self._channel.send(wire.LOAD, ident, [payloads.encode_load(model_id, path, options)])
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._forget(model_id)  # it was there in the same turn of the loop
            raise

    def has_begun(self, model_id: int) -> bool:
        """Whether it is this model that it loads now, be it given up."""
        return self._pending.has_begun(model_id)

    async def unload(self, model_id: int) -> None:
        """Returns once the memory is given back; the model must not be in use. Never raises."""
        if not self.alive:
            return
        await self._forget(model_id)

    def at_end_of_turn(self, call: Callable[[], None]) -> None:
        """Call it before what this turn of the loop has for the worker leaves."""
        self._channel.turn.at_end(call)

    def submit(
        self,
        model_id: int,
        requests: Sequence[tuple[bytes, bytes]],
        *,
        hang_limit_s: float,
        on_done: OnDone,
    ) -> None:
        """Hand over a batch of (spec, body); ``on_done`` is called once, later, on the loop."""
        if self.gone.is_set():
            self._loop.call_soon(on_done, BatchLost(started=False, reason=self.reason))
            return
        ident = self._pending.add_batch(len(requests), hang_limit_s, on_done)
        if self.alive:  # else it is told at the end: by then nobody comes here to try again
            self._channel.send(wire.BATCH, ident, payloads.encode_batch(model_id, requests))

    def kill(self, reason: LostReason) -> None:
        """End it now; ``reason`` is what its loss is put down to."""
        if self.gone.is_set():
            return
        if self._why is None:
            self._why = reason
        self._zygote.kill(self)
        self._loop.call_later(_KILL_S, self._check_killed)

    def shut_down(self) -> None:
        """Ask it to exit; the caller has drained it."""
        self.retiring = True
        if self.alive and self._why is None:
            self._why = "retired"
            self._channel.send(wire.SHUTDOWN, 0)

    def tick(self, elapsed_s: float) -> None:
        """Look whether it hangs; called every ``tick_s``."""
        if not self.alive:
            return
        if not self.ready:
            if self._starting.is_over(min(elapsed_s, 2 * self._options.tick_s)):
                self._give_up_starting()
            return
        sent = self._pending.last_id
        self.lately = self.lately * _FADES + sent - self._sent
        self._sent = sent
        started = self._page.started()
        running, loading = self._pending.running(started), self.loading
        verdict = self._watch.tick(elapsed_s, self._page.heartbeat(), running, loading=loading)
        if verdict is not None and self._why is None:
            self._blamed = self._pending.late(started) if verdict == "timeout" else started
            _log.warning("worker hangs", extra={"worker": self.id, "reason": verdict})
            self.kill(verdict)

    def _give_up_starting(self) -> None:
        _log.warning("worker isn't ready in time", extra={"worker": self.id, "pid": self.pid})
        if self.pid:
            self.kill("hung")
        else:
            self._why = "hung"
            self._zygote.destroy()

    def _check_killed(self) -> None:
        if not self.gone.is_set():
            self._zygote.destroy()

    def _forget(self, model_id: int) -> asyncio.Future[None]:
        ident, future = self._pending.add_unload()
        self._channel.send(wire.UNLOAD, ident, [payloads.encode_id(model_id)])
        return future

    # What comes from the worker.

    def _on_message(self, message: wire.Message) -> None:
        if message.kind == wire.READY and not self._said_ready:
            self._said_ready = True
            self._announce()
            return
        unwanted = self._pending.answer(message)
        if unwanted is not None:
            self._forget(unwanted)

    # What the zygote says of it, and its end.

    def forked(self, pid: int) -> None:
        self.pid = pid
        self._starting = Timed(self._options.ready_timeout_s)
        self._announce()

    def _announce(self) -> None:
        if self._said_ready and self.pid and self.alive and self._why is None:
            self.ready = True
            self.settled.set()
            self._on_ready(self)

    def exited(self, status: int | None) -> None:
        self._reaped, self._status = True, status
        self._ending()

    def _on_close(self, error: wire.ProtocolError | None) -> None:
        self._closed = True
        if error is not None:
            _log.error("worker broke the protocol", extra={"worker": self.id, "error": str(error)})
            self.kill("protocol")
        self._ending()

    def _ending(self) -> None:
        """Its socket or its process has ended: the other will too, or be made to."""
        self.alive = False
        if self._reaped and self._closed:
            self._end()
        elif self._timer is None:
            self._timer = self._loop.call_later(_LAST_WORDS_S, self._end)

    def _end(self) -> None:
        if self.gone.is_set():
            return
        if self._timer is not None:
            self._timer.cancel()
        if not self._reaped:
            self.kill("protocol")
        self.reason = self._why or _reason(self._status)
        started = self._page.started()
        self._page.close()
        self._channel.close()
        self.settled.set()
        self.gone.set()
        self._on_gone(self)  # first: what is tried again elsewhere must not find it
        self._pending.fail(started, self.reason, self._blamed)


def _reason(status: int | None) -> LostReason:
    """From what the zygote says: exit code, or minus the signal; ``None``: it ended itself."""
    if status is None:
        return "killed"
    if status == -signal.SIGKILL:
        return "oom"
    if status in {-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP, -signal.SIGQUIT}:
        return "killed"
    return "crashed"
