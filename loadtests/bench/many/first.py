"""First requests, of small models and of big ones, beside what one would write by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import median

from loadtests.bench.many import models
from loadtests.bench.many.byhand import by_stream, by_transfer, onnx_answer, timed
from loadtests.bench.many.client import Answer, Ask, Client, WrongAnswer, is_same, phases_ms
from loadtests.bench.many.density import warm_up
from loadtests.bench.many.figures import FIRST_BIG, FIRST_SMALL
from loadtests.bench.many.places import s3_server
from loadtests.bench.many.seaweed import BUCKET, Seaweed
from loadtests.bench.many.sizes import Sizes
from loadtests.bench.rows import Row

WARM_UP = 8  # small models of the same kind, all at once and before anything counts

WARM_UP_MB = 0.1


def small(folder: Path, sizes: Sizes) -> Iterator[Row]:
    """Distinct keys, each asked for by both sides, who goes first by turns."""
    ours: list[Answer] = []
    theirs: list[float] = []
    with s3_server(folder) as (s3, server), Client(server.port) as client:
        asks = [_put_small(s3, folder, number) for number in range(WARM_UP + sizes.small_keys + 1)]
        warm_up(server.port, asks[:WARM_UP])
        _both(s3, client, asks.pop(), is_first=True)  # warms the other side
        for turn, ask in enumerate(asks[WARM_UP:]):
            answer, seconds = _both(s3, client, ask, is_first=turn % 2 == 0)
            ours.append(answer)
            theirs.append(seconds["get_object"])
    yield FIRST_SMALL.row(
        [answer.seconds / other for answer, other in zip(ours, theirs, strict=True)],
        ours_ms=_ms([answer.seconds for answer in ours]),
        theirs_ms=_ms(theirs),
        phases_ms=phases_ms(ours),
        keys=len(ours),
    )


def big(folder: Path, sizes: Sizes) -> Iterator[Row]:
    """A row for each kind of artifact; one round is not counted."""
    with s3_server(folder) as (s3, server), Client(server.port) as client:
        for kind in FIRST_BIG:
            warm_up(server.port, _put_little(s3, folder, kind))
            path, expected = _made_big(folder, kind, sizes.big_mb)
            yield _row_of(kind, _rounds(s3, client, path, expected, sizes), path.stat().st_size)
            path.unlink()


Round = tuple[Answer, dict[str, float]]


def _rounds(s3: Seaweed, client: Client, path: Path, expected: object, sizes: Sizes) -> list[Round]:
    rounds = []
    for turn in range(sizes.big_rounds + 1):
        key = f"{turn}-{path.name}"
        s3.upload(key, path)
        ask = Ask.rows(key, models.ROW, expected)
        rounds.append(_both(s3, client, ask, is_first=turn % 2 == 0, with_transfer=True))
        client.unload(key)
        s3.client.delete_object(Bucket=BUCKET, Key=key)
    return rounds[1:]


def _row_of(kind: str, rounds: list[Round], size: int) -> Row:
    ours = [answer.seconds for answer, _ in rounds]
    ways = {way: [theirs[way] for _, theirs in rounds] for way in rounds[0][1]}
    fastest = min(ways, key=lambda way: median(ways[way]))
    return FIRST_BIG[kind].row(
        [own / other for own, other in zip(ours, ways[fastest], strict=True)],
        ours_ms=_ms(ours),
        theirs_ms={way: _ms(seconds) for way, seconds in ways.items()},
        fastest=fastest,
        phases_ms=phases_ms([answer for answer, _ in rounds]),
        megabytes=round(size / 1e6, 1),
    )


def _both(
    s3: Seaweed, client: Client, ask: Ask, *, is_first: bool, with_transfer: bool = False
) -> Round:
    """One key by the server and by hand, both answers checked."""
    answer = client.ask(ask) if is_first else None
    ways = {"get_object": by_stream} | ({"transfer": by_transfer} if with_transfer else {})
    seconds = {}
    for name, way in ways.items():
        seconds[name], found = timed(way, s3.client, ask.target)
        if not is_same(found, ask.expected):
            raise WrongAnswer(f"{ask.target} by {name}: {found!r} instead of {ask.expected!r}")
    if answer is None:
        answer = client.ask(ask)
    return answer.check(ask, tier="store"), seconds


def _put_small(s3: Seaweed, folder: Path, number: int) -> Ask:
    path = models.archive(
        folder / "small.tar.gz", "model.joblib", models.dumped(models.tiny(number))
    )
    key = f"tenant-{number}.tar.gz"
    s3.put(key, path.read_bytes())
    return Ask.rows(key, models.ROW, models.tiny_label(number))


def _put_little(s3: Seaweed, folder: Path, kind: str) -> list[Ask]:
    path, expected = _made_big(folder, kind, WARM_UP_MB)
    asks = [Ask.rows(f"w{n}-{path.name}", models.ROW, expected) for n in range(WARM_UP)]
    for ask in asks:
        s3.upload(ask.target, path)
    return asks


def _made_big(folder: Path, kind: str, megabytes: float) -> tuple[Path, object]:
    path = folder / f"big.{kind}"
    if kind == "onnx":
        path.write_bytes(models.big_onnx(megabytes))
        return path, onnx_answer(path)
    model = models.mlp(megabytes)
    models.archive(path, "model.joblib", models.dumped(model))
    return path, models.answer_of(model)


def _ms(seconds: list[float]) -> float:
    return round(median(seconds) * 1e3, 3)
