"""The slowest hundredth of quick requests, while the server does something heavy beside them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from loadtests.bench.many import models
from loadtests.bench.many.client import Answer, Ask, Client, WrongAnswer, quantile
from loadtests.bench.many.figures import BESIDE, PING, WARM, Figure
from loadtests.bench.many.load import Load, Tally, by_time, load, probe
from loadtests.bench.many.places import Server, local_server, s3_server
from loadtests.bench.many.seaweed import Seaweed
from loadtests.bench.many.sizes import Sizes
from loadtests.bench.processes import cpu_seconds
from loadtests.bench.rows import Row

EVERY_S = 0.002
BUSY, SATURATED, LOADERS = 8, 4, 50  # connections
BUSY_S = 0.5
IDLE = 0.3  # of what the busiest worker used
SLOW_ENOUGH = 0.9
COLD_MB = 2  # of each of the models that load while /ping is asked


class Rounds:
    """Quantiles of each round, and the errors of all of them."""

    def __init__(self) -> None:
        self.p99_ms: list[float] = []
        self.p50_ms: list[float] = []
        self.by_time_ms: list[float] = []
        self.samples = self.beside = 0
        self.errors: list[str] = []

    def add(self, seconds: list[float], *tallies: Tally) -> None:
        self.p99_ms.append(quantile(seconds, 0.99) * 1e3)
        self.p50_ms.append(quantile(seconds, 0.5) * 1e3)
        self.by_time_ms.append(quantile(by_time(seconds, EVERY_S), 0.99) * 1e3)
        self.samples += len(seconds)
        self.beside += sum(tally.answers for tally in tallies)
        self.errors += [error for tally in tallies for error in tally.errors]
        self.errors += ["nothing ran beside it" for tally in tallies if not tally.answers]

    def row(self, figure: Figure, **details: Any) -> Row:
        if self.errors:
            details["first_error"] = self.errors[0]
        return figure.row(
            self.p99_ms,
            errors=len(self.errors),
            p50_ms=round(median(self.p50_ms), 3),
            p99_by_time_ms=round(median(self.by_time_ms), 3),
            samples=self.samples,
            answers_beside=self.beside,
            **details,
        )


def ping(folder: Path, sizes: Sizes) -> Iterator[Row]:
    """All the cold models asked for at once; each worker busy with a warm one all the time."""
    rounds = Rounds()
    with s3_server(folder) as (s3, server):
        slow = models.slow_forest(max(1, sizes.slow_trees // 8))
        busy = _put_copies(s3, [f"busy-{n}.joblib" for n in range(server.workers)], slow)
        cold = models.forest(COLD_MB)
        for turn in range(sizes.tail_rounds):
            targets = [f"{turn}-{number}.joblib" for number in range(sizes.cold_loads)]
            asks = _put_copies(s3, targets, cold)
            with (
                Client(server.port) as client,
                load(server.port, busy, connections=BUSY) as warm,
                load(server.port, asks, connections=LOADERS, for_ever=False, tier="store") as loads,
            ):
                for ask in busy:  # one after another, so each goes to a worker of its own
                    client.ask(ask).check(ask)
                warm.go()
                rounds.errors += _idle_workers(server)
                rounds.add(*_ping_round(client, warm, loads))
    yield rounds.row(PING, cold_loads=sizes.cold_loads)


def _idle_workers(server: Server) -> list[str]:
    """Who of the workers had hardly anything to do, before anything else goes on."""
    pids = server.worker_pids()
    before = [cpu_seconds(pid) for pid in pids]
    time.sleep(BUSY_S)
    used = [cpu_seconds(pid) - was for pid, was in zip(pids, before, strict=True)]
    return [f"a worker was idle: {used}" for spent in used if spent < IDLE * max(used)]


def _ping_round(client: Client, warm: Load, loads: Load) -> tuple[list[float], Tally, Tally]:
    loads.go()
    seconds = probe(
        lambda: _pong(client), every_s=EVERY_S, at_least_s=0, until=lambda: loads.is_over
    )
    return seconds, loads.tally(), warm.tally()


def _pong(client: Client) -> Answer:
    answer = client.request("GET", "/ping")
    if answer.status != 200:
        raise WrongAnswer(f"/ping: {answer.status}")
    return answer


def warm_beside_loads(folder: Path, sizes: Sizes) -> Iterator[Row]:
    """The fast model is asked all the time, large ones come from the store one by one."""
    rounds = Rounds()
    with s3_server(folder) as (s3, server), Client(server.port) as client:
        fast = _put(s3, "fast.joblib", models.tiny(1))
        forest = models.forest(sizes.forest_mb)
        for turn in range(sizes.tail_rounds):
            targets = [f"{turn}-{number}.joblib" for number in range(sizes.forests)]
            asks = _put_copies(s3, targets, forest)
            client.ask(fast).check(fast)
            with load(server.port, asks, connections=1, for_ever=False, tier="store") as loads:
                loads.go()
                seconds = _fast(client, fast, 0, loads)
                rounds.add(seconds, loads.tally())
            for target in targets:
                client.unload(target)
    yield rounds.row(WARM, forests_a_round=sizes.forests, megabytes=sizes.forest_mb)


def beside_slow(folder: Path, sizes: Sizes) -> Iterator[Row]:
    """Both in the one worker: with two, they would not meet."""
    place = folder / "models"
    place.mkdir()
    fast = _write(place, "fast.joblib", models.tiny(1))
    rounds = Rounds()
    with (
        local_server(folder / "server", place, MMS_WORKERS="1") as server,
        Client(server.port) as client,
    ):
        slow, slow_ms = _slow(client, place, sizes)
        client.ask(fast).check(fast)
        for _ in range(sizes.tail_rounds):
            with load(server.port, [slow], connections=SATURATED) as slow_load:
                slow_load.go()
                time.sleep(min(0.5, sizes.probe_s))
                seconds = _fast(client, fast, sizes.probe_s)
                rounds.add(seconds, slow_load.tally())
    if slow_ms < SLOW_ENOUGH * sizes.slow_ms:
        rounds.errors.append(f"the slow model took {slow_ms} ms only")
    yield rounds.row(BESIDE, slow_predict_ms=slow_ms, connections=SATURATED)


def _slow(client: Client, place: Path, sizes: Sizes) -> tuple[Ask, float]:
    """A forest whose call takes so long in the server, whatever that does about forests."""
    trial = _write(place, "trial.joblib", models.slow_forest(sizes.slow_trees))
    trees = round(sizes.slow_trees * sizes.slow_ms / _predict_ms(client, trial))
    client.unload(trial.target)
    slow = _write(place, "slow.joblib", models.slow_forest(trees))
    return slow, _predict_ms(client, slow)


def _predict_ms(client: Client, ask: Ask) -> float:
    client.ask(ask).check(ask)
    return median(client.ask(ask).check(ask, tier="memory").phases["predict"] for _ in range(7))


def _fast(client: Client, ask: Ask, at_least_s: float, loads: Load | None = None) -> list[float]:
    return probe(
        lambda: client.ask(ask).check(ask, tier="memory"),
        every_s=EVERY_S,
        at_least_s=at_least_s,
        until=lambda: loads is None or loads.is_over,
    )


def _write(place: Path, target: str, model: Any) -> Ask:
    (place / target).write_bytes(models.dumped(model))
    return Ask.rows(target, models.ROW, models.answer_of(model))


def _put(s3: Seaweed, target: str, model: Any) -> Ask:
    return _put_copies(s3, [target], model)[0]


def _put_copies(s3: Seaweed, targets: list[str], model: Any) -> list[Ask]:
    data, expected = models.dumped(model), models.answer_of(model)
    for target in targets:
        s3.put(target, data)
    return [Ask.rows(target, models.ROW, expected) for target in targets]
