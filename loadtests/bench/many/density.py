"""Thousands of resident models: what they take, and what it costs to go round them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

from loadtests.bench.many import models
from loadtests.bench.many.client import Ask, Client
from loadtests.bench.many.figures import DENSITY_10K, DENSITY_MIXED, ROUND_ROBIN
from loadtests.bench.many.memory import MB, settled
from loadtests.bench.many.places import Server, local_server
from loadtests.bench.many.sizes import FULL, SEED, Sizes
from loadtests.bench.rows import Row

CLIENTS = 8


def mixed(folder: Path, sizes: Sizes) -> Iterator[Row]:
    """Growth over an idle server that has never had a model; a new server each round."""
    place = folder / "models"
    place.mkdir()
    asks = [*write_tiny(place, sizes.mixed), *write_tiny_onnx(place, sizes.mixed)]
    growths, idle = [], 0
    for turn in range(sizes.mixed_rounds):
        with local_server(folder / f"server-{turn}", place) as server:
            idle, full = _fill(server, asks)
            growths.append((full - idle) / MB)
    figure = DENSITY_MIXED.sized(f"{len(asks):,} models", is_whole=sizes.mixed >= FULL.mixed)
    yield figure.row(growths, idle_mb=round(idle / MB, 1), models=len(asks))


def many(folder: Path, sizes: Sizes) -> Iterator[Row]:
    """Growth, and the median of requests that go round all models beside one hot model's."""
    note, is_whole = f"{sizes.many:,} models", sizes.many >= FULL.many
    place = folder / "models"
    place.mkdir()
    asks = write_tiny(place, sizes.many)
    with local_server(folder / "server", place) as server:
        idle, full = _fill(server, asks)
        growth = (full - idle) / MB
        yield DENSITY_10K.sized(note, is_whole=is_whole).row([growth], idle_mb=round(idle / MB, 1))
        with Client(server.port) as client:
            rounds = list(_rounds(client, asks, sizes))
    yield ROUND_ROBIN.sized(note, is_whole=is_whole).row(
        [all_of_them / hot for all_of_them, hot in rounds],
        round_robin_ms=round(median(r for r, _ in rounds) * 1e3, 3),
        hot_ms=round(median(h for _, h in rounds) * 1e3, 3),
        models=len(asks),
    )


def write_tiny(folder: Path, count: int, *, name: str = "tiny") -> list[Ask]:
    asks = []
    for number in range(count):
        model = models.tiny(number)
        target = f"{name}-{number}.joblib"
        (folder / target).write_bytes(models.dumped(model))
        asks.append(Ask.rows(target, models.ROW, models.answer_of(model)))
    return asks


def write_tiny_onnx(folder: Path, count: int) -> list[Ask]:
    asks = []
    for number in range(count):
        target = f"tiny-{number}.onnx"
        (folder / target).write_bytes(models.tiny_onnx(number))
        asks.append(Ask.rows(target, models.ROW, models.tiny_onnx_answer(number)))
    return asks


def ask_all(port: int, asks: Sequence[Ask], tier: str) -> None:
    """Every one once, over a few connections, each answer checked and from this tier."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        shares = [asks[start::CLIENTS] for start in range(CLIENTS)]
        list(pool.map(lambda share: _ask_each(port, share, tier), shares))


def warm_up(port: int, asks: Sequence[Ask]) -> None:
    """Small models of a kind, all at once, so that every worker has imported what it takes."""
    with ThreadPoolExecutor(len(asks)) as pool:
        list(pool.map(lambda ask: _ask_each(port, [ask], ""), asks))


def _ask_each(port: int, asks: Iterable[Ask], tier: str) -> None:
    with Client(port) as client:
        for ask in asks:
            client.ask(ask).check(ask, tier=tier)


def _fill(server: Server, asks: Sequence[Ask]) -> tuple[int, int]:
    """Bytes of all processes before and after; the second pass proves that all are resident."""
    idle = settled(server.pid)
    ask_all(server.port, asks, tier="store")
    ask_all(server.port, asks, tier="memory")
    return idle, settled(server.pid)


def _rounds(client: Client, asks: Sequence[Ask], sizes: Sizes) -> Iterator[tuple[float, float]]:
    order = random.Random(SEED).sample(asks, len(asks))  # noqa: S311 - a fixed order, no secret
    position = 0
    for _ in range(sizes.p50_rounds):
        turn = [order[(position + i) % len(order)] for i in range(sizes.p50_requests)]
        position += sizes.p50_requests
        yield _p50(client, turn), _p50(client, [order[0]] * sizes.p50_requests)


def _p50(client: Client, asks: Iterable[Ask]) -> float:
    return median(client.ask(ask).check(ask, tier="memory").seconds for ask in asks)
