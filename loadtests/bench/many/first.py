"""First requests, of small models and of big ones, beside what one would write by hand.

Both sides are warm but for the model: processes with their libraries imported and used once,
connections open, the object in the S3 server's page cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from loadtests.bench.many import models
from loadtests.bench.many.byhand import BIG_WAYS, SMALL_WAYS, Way, by_onnx, timed_way
from loadtests.bench.many.client import Answer, Ask, Client, WrongAnswer, is_same, phases_ms
from loadtests.bench.many.density import warm_up
from loadtests.bench.many.figures import FIRST_BIG, FIRST_SMALL, Figure
from loadtests.bench.many.places import s3_server
from loadtests.bench.many.seaweed import BUCKET, Seaweed
from loadtests.bench.many.sizes import FULL, Sizes
from loadtests.bench.rows import Row

WARM_UP = 8  # small models of the same kind, all at once and before anything counts
WARM_UP_MB = 0.1

Round = tuple[Answer, dict[str, float]]  # ours, and theirs by way in seconds


def small(folder: Path, sizes: Sizes) -> Iterator[Row]:
    """Distinct keys, each asked for by all sides."""
    with s3_server(folder) as (s3, server), Client(server.port) as client:
        asks = [_put_small(s3, folder, number) for number in range(WARM_UP + sizes.small_keys + 1)]
        warm_up(server.port, asks[:WARM_UP])
        rounds = [
            _round(s3, client, ask, SMALL_WAYS, turn) for turn, ask in enumerate(asks[WARM_UP:])
        ]
    yield _row(FIRST_SMALL, rounds[1:])


def big(kind: str, folder: Path, sizes: Sizes) -> Iterator[Row]:
    with s3_server(folder) as (s3, server), Client(server.port) as client:
        warm_up(server.port, _put_little(s3, folder, kind))
        path, expected = made(folder, kind, sizes.big_mb)
        rounds = []
        for turn in range(sizes.big_rounds + 1):
            ask = Ask.rows(f"{turn}-{path.name}", models.ROW, expected)
            s3.upload(ask.target, path)
            rounds.append(_round(s3, client, ask, BIG_WAYS, turn))
            client.unload(ask.target)
            s3.client.delete_object(Bucket=BUCKET, Key=ask.target)
    is_whole = sizes.big_mb >= FULL.big_mb
    yield _row(FIRST_BIG[kind].sized(f"{sizes.big_mb} MB", is_whole=is_whole), rounds[1:])


def _row(figure: Figure, rounds: list[Round]) -> Row:
    """To the way that is the fastest by its median; ratios within a round."""
    ways = {way: [theirs[way] for _, theirs in rounds] for way in rounds[0][1]}
    fastest = min(ways, key=lambda way: median(ways[way]))
    ours = [answer.seconds for answer, _ in rounds]
    return figure.row(
        [own / other for own, other in zip(ours, ways[fastest], strict=True)],
        ours_ms=_ms(ours),
        theirs_ms={way: _ms(seconds) for way, seconds in ways.items()},
        fastest=fastest,
        phases_ms=phases_ms([answer for answer, _ in rounds]),
    )


def _round(s3: Seaweed, client: Client, ask: Ask, ways: Mapping[str, Way], turn: int) -> Round:
    """One key by all sides, who goes first by turns; every answer is checked."""
    answers, seconds = [], {}
    for name in rotated(["", *ways], turn):
        if not name:
            answers.append(client.ask(ask).check(ask, tier="store"))
            continue
        seconds[name], found = timed_way(ways[name], s3.client, ask.target)
        if not is_same(found, ask.expected):
            raise WrongAnswer(f"{ask.target} by {name}: {found!r} instead of {ask.expected!r}")
    return answers[0], seconds


def rotated(names: list[str], turn: int) -> list[str]:
    start = turn % len(names)
    return names[start:] + names[:start]


def _put_small(s3: Seaweed, folder: Path, number: int) -> Ask:
    model = models.dumped(models.tiny(number))
    path = models.archive(folder / "small.tar.gz", "model.joblib", model)
    key = f"tenant-{number}.tar.gz"
    s3.put(key, path.read_bytes())
    return Ask.rows(key, models.ROW, models.tiny_label(number))


def _put_little(s3: Seaweed, folder: Path, kind: str) -> list[Ask]:
    path, expected = made(folder, kind, WARM_UP_MB)
    asks = [Ask.rows(f"w{n}-{path.name}", models.ROW, expected) for n in range(WARM_UP)]
    for ask in asks:
        s3.upload(ask.target, path)
    return asks


def made(folder: Path, kind: str, megabytes: float) -> tuple[Path, Any]:
    """An artifact of this kind and about this size, and its answer."""
    path = folder / f"big.{kind}"
    if kind == "onnx":
        path.write_bytes(models.big_onnx(megabytes))
        return path, by_onnx(path).answer
    model = models.mlp(megabytes)
    models.archive(path, "model.joblib", models.dumped(model))
    return path, models.answer_of(model)


def _ms(seconds: list[float]) -> float:
    return round(median(seconds) * 1e3, 3)
