"""What is left after everything was unloaded, and how soon a killed worker's models answer."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from loadtests.bench.many import models
from loadtests.bench.many.client import Answer, Ask, Client
from loadtests.bench.many.density import ask_all, warm_up, write_tiny, write_tiny_onnx
from loadtests.bench.many.figures import EVICTED, KILLED
from loadtests.bench.many.memory import MB, settled
from loadtests.bench.many.places import local_server
from loadtests.bench.many.sizes import Sizes
from loadtests.bench.rows import Row

CYCLES = 3
MODELS = 8
GIVE_UP_S = 30.0
NOT_NOW = (429, 503)


def evicted(folder: Path, sizes: Sizes) -> Iterator[Row]:
    """Before: an idle server that has never had a model. Each cycle loads all and unloads all."""
    place = folder / "models"
    place.mkdir()
    asks = [*write_tiny(place, sizes.evict_each), *write_tiny_onnx(place, sizes.evict_each)]
    asks += _forests(place, sizes)
    left, most = [], 0
    with local_server(folder / "server", place) as server, Client(server.port) as client:
        before = settled(server.pid)
        warmed = _warmed(server.port, client, asks, server.pid)
        for _ in range(CYCLES):
            ask_all(server.port, asks, tier="")
            most = max(most, settled(server.pid))
            for ask in asks:
                client.unload(ask.target)
            left.append(settled(server.pid))
    yield EVICTED.row(
        [after / before for after in left],
        before_mb=round(before / MB, 1),
        most_mb=round(most / MB, 1),
        warmed_mb=round(warmed / MB, 1),
        left_mb=[round(after / MB, 1) for after in left],
    )


def _warmed(port: int, client: Client, asks: Sequence[Ask], pid: int) -> int:
    """Bytes once a few models of each kind came and went: what the libraries' first use takes."""
    few = {ask.target: ask for ask in (*asks[len(asks) // 2 :][:MODELS], *asks[:MODELS], asks[-1])}
    warm_up(port, list(few.values()))
    for ask in few.values():
        client.unload(ask.target)
    return settled(pid)


def _forests(place: Path, sizes: Sizes) -> list[Ask]:
    model = models.forest(sizes.forest_mb)
    data, expected = models.dumped(model), models.answer_of(model)
    targets = [f"forest-{number}.joblib" for number in range(sizes.evict_forests)]
    for target in targets:
        (place / target).write_bytes(data)
    return [Ask.rows(target, models.ROW, expected) for target in targets]


def killed(folder: Path, sizes: Sizes) -> Iterator[Row]:
    """One worker is killed, by turns; all models are asked for at once until each has answered.

    The last one's first answer counts; refusals on the way (429, 503) are details.
    """
    place = folder / "models"
    place.mkdir()
    asks = write_tiny(place, MODELS)
    milliseconds, refusals = [], 0
    with local_server(folder / "server", place) as server:
        for turn in range(sizes.kills):
            for tier in ("", "memory"):
                ask_all(server.port, asks, tier=tier)
            workers = sorted(server.worker_pids())
            seconds, refused = _kill(workers[turn % len(workers)], server.port, asks)
            milliseconds.append(seconds * 1e3)
            refusals += refused
            server.wait_ready()
    yield KILLED.row(milliseconds, refusals=refusals, models=MODELS)


def _kill(pid: int, port: int, asks: Sequence[Ask]) -> tuple[float, int]:
    """Seconds until every model has answered, and how many were refused before."""
    start = threading.Barrier(len(asks) + 1)
    with ThreadPoolExecutor(len(asks)) as pool:
        waiting = [pool.submit(_until_answered, port, ask, start) for ask in asks]
        try:
            start.wait(GIVE_UP_S)
            began = time.perf_counter()
            os.kill(pid, signal.SIGKILL)
            start.wait(GIVE_UP_S)
        except BaseException:
            start.abort()
            raise
        ends = [future.result() for future in waiting]
    return max(end for end, _ in ends) - began, sum(refused for _, refused in ends)


def _until_answered(port: int, ask: Ask, start: threading.Barrier) -> tuple[float, int]:
    with Client(port) as client:
        start.wait(GIVE_UP_S)  # connected and waiting
        start.wait(GIVE_UP_S)  # the worker is dead
        deadline = time.perf_counter() + GIVE_UP_S
        for refused in range(10**6):
            answer: Answer = client.ask(ask)
            if answer.status not in NOT_NOW or time.perf_counter() > deadline:
                answer.check(ask)
                return time.perf_counter(), refused
            time.sleep(0.005)
    raise TimeoutError(ask.target)
