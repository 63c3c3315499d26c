"""Reloads from the disk tier, beside the load of the unpacked file in this process.

What is warm: the processes, their libraries, the store's connection and the file's pages. The
model is unloaded before each request, and the server may ask the store whether it is current.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from loadtests.bench.many import models
from loadtests.bench.many.byhand import Found, by_joblib, by_onnx, timed
from loadtests.bench.many.client import Answer, Ask, Client, WrongAnswer, is_same, phases_ms
from loadtests.bench.many.density import warm_up
from loadtests.bench.many.figures import RELOAD, RELOAD_SMALL, Figure
from loadtests.bench.many.places import s3_server
from loadtests.bench.many.seaweed import Seaweed
from loadtests.bench.many.sizes import FULL, Sizes
from loadtests.bench.rows import Row

WARM_UP = 8
WARM_UP_MB = 0.1
PAUSE_S = 0.1  # the worker gives the memory back after the unload is answered


@dataclass(frozen=True, slots=True)
class Kind:
    """How an artifact is made: its model file's bytes by megabytes, and how that is loaded."""

    suffix: str
    dumped: Callable[[float], bytes]
    load: Callable[[Path], Found]


KINDS = {
    "forest": Kind(".tar", lambda megabytes: models.dumped(models.forest(megabytes)), by_joblib),
    "joblib": Kind(".tar", lambda megabytes: models.dumped(models.mlp(megabytes)), by_joblib),
    "onnx": Kind(".onnx", models.big_onnx, by_onnx),
}


def small(folder: Path, sizes: Sizes) -> Iterator[Row]:
    kind = Kind(".tar", lambda _: models.dumped(models.tiny(1)), by_joblib)
    yield _row(RELOAD_SMALL, folder, kind, megabytes=0, times=sizes.reloads)


def large(name: str, folder: Path, sizes: Sizes) -> Iterator[Row]:
    megabytes = _megabytes(name, sizes)
    figure = RELOAD[name].sized(f"{megabytes} MB", is_whole=megabytes >= _megabytes(name, FULL))
    yield _row(figure, folder, KINDS[name], megabytes=megabytes, times=sizes.big_reloads)


def _megabytes(name: str, sizes: Sizes) -> int:
    return sizes.forest_mb if name == "forest" else sizes.big_mb


def _row(figure: Figure, folder: Path, kind: Kind, *, megabytes: float, times: int) -> Row:
    path = folder / f"model{kind.suffix.replace('.tar', '.joblib')}"
    with s3_server(folder) as (s3, server), Client(server.port) as client:
        path.write_bytes(kind.dumped(WARM_UP_MB))
        warm_up(server.port, [_put(s3, f"{n}", kind, path) for n in range(WARM_UP)])
        path.write_bytes(kind.dumped(megabytes))
        ask = _put(s3, "model", kind, path)
        client.ask(ask).check(ask, tier="store")
        by_hand = partial(kind.load, path)
        rounds = [_round(client, ask, by_hand, is_first=turn % 2 == 0) for turn in range(times + 1)]
    return _figures(figure, rounds[1:], path.stat().st_size)


def _figures(figure: Figure, rounds: list[tuple[Answer, float]], size: int) -> Row:
    return figure.row(
        [own.seconds / other for own, other in rounds],
        ours_ms=round(median(own.seconds for own, _ in rounds) * 1e3, 3),
        theirs_ms=round(median(other for _, other in rounds) * 1e3, 3),
        phases_ms=phases_ms([own for own, _ in rounds]),
        megabytes=round(size / 1e6, 3),
    )


def _put(s3: Seaweed, name: str, kind: Kind, path: Path) -> Ask:
    """The model in the store; an archive holds nothing else."""
    target = f"{name}{kind.suffix}"
    data = path.read_bytes()
    if kind.suffix == ".tar":
        data = models.archive(path.with_name("put.tar"), path.name, data).read_bytes()
    s3.put(target, data)
    return Ask.rows(target, models.ROW, kind.load(path).answer)


def _round(
    client: Client, ask: Ask, by_hand: Callable[[], Found], *, is_first: bool
) -> tuple[Answer, float]:
    client.unload(ask.target)
    time.sleep(PAUSE_S)
    own = client.ask(ask) if is_first else None
    other, found = timed(by_hand)
    if not is_same(found, ask.expected):
        raise WrongAnswer(f"{ask.target} by hand: {found!r}")
    if own is None:
        own = client.ask(ask)
    return own.check(ask, tier="disk"), other
