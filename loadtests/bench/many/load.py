"""Load from processes of its own, so that the probe's clock doesn't wait for the load's client."""

from __future__ import annotations

import ctypes
import itertools
import math
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event

from loadtests.bench.many.client import Answer, Ask, Client, WrongAnswer

_PATIENCE_S = 120.0
_SPAWN = multiprocessing.get_context("spawn")


@dataclass(slots=True)
class Tally:
    """What a load's clients saw."""

    answers: int = 0
    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


class Load:
    """Runs in another process until it is stopped or, not ``for_ever``, has asked all once."""

    def __init__(
        self, port: int, asks: Sequence[Ask], *, connections: int, for_ever: bool, tier: str = ""
    ) -> None:
        self._stop = _SPAWN.Event()
        self._ready = _SPAWN.Event()
        self._go = _SPAWN.Event()
        self._results, results = _SPAWN.Pipe(duplex=False)
        self.process = _SPAWN.Process(
            target=_run,
            args=(port, list(asks)),
            kwargs={
                "connections": connections,
                "for_ever": for_ever,
                "tier": tier,
                "ready": self._ready,
                "go": self._go,
                "stop": self._stop,
                "results": results,
            },
            daemon=True,
        )

    def go(self) -> None:
        """Let it begin, once it can."""
        if not self._ready.wait(_PATIENCE_S):
            raise TimeoutError("the load did not start")
        self._go.set()

    @property
    def is_over(self) -> bool:
        return self._results.poll() or not self.process.is_alive()

    def tally(self) -> Tally:
        """Stop it, and what it saw."""
        self._stop.set()
        if not self._results.poll(_PATIENCE_S):
            raise TimeoutError("the load did not end")
        found: Tally = self._results.recv()
        return found


@contextmanager
def load(
    port: int, asks: Sequence[Ask], *, connections: int, for_ever: bool = True, tier: str = ""
) -> Iterator[Load]:
    """A load that waits for ``go`` and has ended afterwards."""
    one = Load(port, asks, connections=connections, for_ever=for_ever, tier=tier)
    one.process.start()
    try:
        yield one
    finally:
        one.process.kill()
        one.process.join()


def _run(
    port: int,
    asks: list[Ask],
    *,
    connections: int,
    for_ever: bool,
    tier: str,
    ready: Event,
    go: Event,
    stop: Event,
    results: Connection,
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # so does its death
    tally = Tally()
    lock = threading.Lock()
    source = itertools.cycle(asks) if for_ever else iter(asks)
    ready.set()
    go.wait(_PATIENCE_S)
    threads = [
        threading.Thread(
            target=_client,
            args=(port, source, tally),
            kwargs={"lock": lock, "tier": tier, "stop": stop},
        )
        for _ in range(connections)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.send(tally)


def _client(
    port: int, source: Iterator[Ask], tally: Tally, *, lock: threading.Lock, tier: str, stop: Event
) -> None:
    with Client(port) as client:
        while not stop.is_set():
            with lock:
                ask = next(source, None)
            if ask is None:
                return
            try:
                answer = client.ask(ask).check(ask, tier)
            except (WrongAnswer, OSError, ValueError) as error:
                with lock:
                    tally.errors.append(str(error)[:300])
                continue
            with lock:
                tally.answers += 1
                tally.seconds.append(answer.seconds)


def probe(
    send: Callable[[], Answer], *, every_s: float, at_least_s: float, until: Callable[[], bool]
) -> list[float]:
    """Seconds of one request after another, each due ``every_s`` after the last one's start.

    Goes on for at least so long and until it holds. One that was late is not made up for: see
    ``by_time``.
    """
    seconds: list[float] = []
    end = time.perf_counter() + at_least_s
    while time.perf_counter() < end or not until():
        due = time.perf_counter() + every_s
        seconds.append(send().seconds)
        time.sleep(max(0.0, due - time.perf_counter()))
    return seconds


def by_time(seconds: Sequence[float], every_s: float) -> list[float]:
    """What clients would have waited who come every ``every_s`` however long the others wait.

    A probe that waits asks nothing meanwhile, so its quantiles are by request; these are by time.
    """
    waits = (
        (wait - late * every_s for late in range(1 + max(0, math.ceil(wait / every_s) - 1)))
        for wait in seconds
    )
    return [wait for one in waits for wait in one]
