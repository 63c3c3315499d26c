"""A few popular models and a long tail, with room for a tenth: hits beside an ideal LRU's."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from statistics import mean

import numpy as np

from loadtests.bench.many import models
from loadtests.bench.many.client import Ask, Client
from loadtests.bench.many.figures import ZIPF
from loadtests.bench.many.memory import MB, settled, total
from loadtests.bench.many.places import Server, local_server
from loadtests.bench.many.sizes import FULL, SEED, Sizes
from loadtests.bench.rows import Row

LOOK_EVERY = 20  # requests


def zipf(folder: Path, sizes: Sizes) -> Iterator[Row]:
    """The room is what a server with ``zipf_room`` models really takes below its front."""
    place = folder / "models"
    place.mkdir()
    asks = _write(place, sizes)
    budget = _room(folder / "roomy", place, asks[: sizes.zipf_room])
    trace = zipf_trace(sizes.zipf_models, sizes.zipf_requests)
    settings = {"MMS_MEMORY_BUDGET": str(budget)}
    with (
        local_server(folder / "server", place, **settings) as server,
        Client(server.port) as client,
    ):
        hits, resident = _play(client, [asks[number] for number in trace])
    typical = round(mean(resident[len(resident) // 2 :]))  # more than planned has to show
    ideal = lru_hits(trace, max(typical, sizes.zipf_room))
    note = f"{sizes.zipf_models} models, room for {sizes.zipf_room}"
    yield ZIPF.sized(note, is_whole=sizes.zipf_models >= FULL.zipf_models).row(
        [hits / ideal],
        hit_ratio=round(hits / len(trace), 4),
        ideal_hit_ratio=round(ideal / len(trace), 4),
        budget_mb=round(budget / MB, 1),
        resident=typical,
        most_resident=max(resident),
        requests=len(trace),
    )


def _play(client: Client, asks: Sequence[Ask]) -> tuple[int, list[int]]:
    """Hits, and now and then how many models were resident."""
    hits, resident = 0, []
    for turn, ask in enumerate(asks):
        hits += client.ask(ask).check(ask).tier == "memory"
        if turn % LOOK_EVERY == 0:
            resident.append(int(client.metric("mms_resident_models")))
    return hits, resident


def zipf_trace(count: int, length: int) -> list[int]:
    """Model numbers; the k-th most popular has 1/k of the first one's share."""
    shares = 1 / np.arange(1, count + 1)
    rng = np.random.default_rng(SEED)
    ranks = rng.permutation(count)  # popularity says nothing about the name
    return [int(ranks[k]) for k in rng.choice(count, size=length, p=shares / shares.sum())]


def lru_hits(trace: Iterable[Hashable], room: int) -> int:
    """Hits of a cache of so many entries that drops the least recently used one."""
    cache: OrderedDict[Hashable, None] = OrderedDict()
    hits = 0
    for name in trace:
        if name in cache:
            hits += 1
            cache.move_to_end(name)
            continue
        cache[name] = None
        if len(cache) > room:
            cache.popitem(last=False)
    return hits


def _write(place: Path, sizes: Sizes) -> list[Ask]:
    """One file under many names: the same weight for every model."""
    model = models.mlp(sizes.zipf_model_mb)
    first = place.parent / "model.joblib"
    first.write_bytes(models.dumped(model))
    expected = models.answer_of(model)
    targets = [f"tenant-{number}.joblib" for number in range(sizes.zipf_models)]
    for target in targets:
        os.link(first, place / target)
    return [Ask.rows(target, models.ROW, expected) for target in targets]


def _room(folder: Path, place: Path, asks: Sequence[Ask]) -> int:
    with local_server(folder, place) as server, Client(server.port) as client:
        for ask in asks:
            client.ask(ask).check(ask, tier="store")
        for ask in asks:
            client.ask(ask).check(ask, tier="memory")
        return _below_front(server)


def _below_front(server: Server) -> int:
    settled(server.pid)
    return total(server.processes()[1:])
