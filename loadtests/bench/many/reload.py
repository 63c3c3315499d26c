"""Reloads from the disk tier, beside the load of the unpacked file in this process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from loadtests.bench.many import models
from loadtests.bench.many.byhand import joblib_answer
from loadtests.bench.many.client import Answer, Ask, Client, WrongAnswer, is_same, phases_ms
from loadtests.bench.many.density import warm_up
from loadtests.bench.many.figures import RELOAD_FOREST, RELOAD_SMALL, Figure
from loadtests.bench.many.places import s3_server
from loadtests.bench.many.seaweed import Seaweed
from loadtests.bench.many.sizes import Sizes
from loadtests.bench.rows import Row

WARM_UP = 8
PAUSE_S = 0.1  # the worker gives the memory back after the unload is answered


def reloads(folder: Path, sizes: Sizes) -> Iterator[Row]:
    """A small model, for the request's own cost, and a large one, for the load's."""
    times = max(2, sizes.reloads // 3)
    with s3_server(folder) as (s3, server), Client(server.port) as client:
        small = models.tiny(1)
        warm_up(server.port, _put_little(s3, "little-tiny", small))
        yield _row(RELOAD_SMALL, s3, client, folder / "small", model=small, times=sizes.reloads)
        large = models.forest(sizes.forest_mb)
        warm_up(server.port, _put_little(s3, "little-forest", models.forest(0)))
        yield _row(RELOAD_FOREST, s3, client, folder / "large", model=large, times=times)


def _row(
    figure: Figure, s3: Seaweed, client: Client, folder: Path, *, model: Any, times: int
) -> Row:
    folder.mkdir()
    data = models.dumped(model)
    (folder / "model.joblib").write_bytes(data)
    key = f"{folder.name}.tar"
    s3.put(key, models.archive(folder / key, "model.joblib", data).read_bytes())
    ask = Ask.rows(key, models.ROW, models.answer_of(model))
    client.ask(ask).check(ask, tier="store")
    rounds = [_round(client, ask, folder, is_first=turn % 2 == 0) for turn in range(times + 1)][1:]
    return figure.row(
        [own.seconds / other for own, other in rounds],
        ours_ms=round(median(own.seconds for own, _ in rounds) * 1e3, 3),
        theirs_ms=round(median(other for _, other in rounds) * 1e3, 3),
        phases_ms=phases_ms([own for own, _ in rounds]),
        megabytes=round(len(data) / 1e6, 3),
    )


def _put_little(s3: Seaweed, name: str, model: Any) -> list[Ask]:
    asks = [
        Ask.rows(f"{n}-{name}.joblib", models.ROW, models.answer_of(model)) for n in range(WARM_UP)
    ]
    for ask in asks:
        s3.put(ask.target, models.dumped(model))
    return asks


def _round(client: Client, ask: Ask, folder: Path, *, is_first: bool) -> tuple[Answer, float]:
    client.unload(ask.target)
    time.sleep(PAUSE_S)
    own = client.ask(ask) if is_first else None
    began = time.perf_counter()
    found = joblib_answer(folder)
    other = time.perf_counter() - began
    if not is_same(found, ask.expected):
        raise WrongAnswer(f"{ask.target} by hand: {found!r}")
    if own is None:
        own = client.ask(ask)
    return own.check(ask, tier="disk"), other
