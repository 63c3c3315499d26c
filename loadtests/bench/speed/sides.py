"""What is measured beside what: how each server is started for a model, and asked."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtests.bench.processes import HOST, Child, free_port
from loadtests.bench.speed.asking import Request, predictions_are, wait_for
from loadtests.bench.speed.workloads import TITLES, Question, Workload

OURS, ECHO, PLAIN, INLINE, TWO = "ours", "echo", "plain", "plain-inline", "plain-2"
_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where one server is to run, and with which model."""

    folder: Path
    port: int
    workload: Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    name: str
    title: str
    command: Callable[[Place], list[str]]
    environ: Callable[[Place], Mapping[str, str]]
    request: Callable[[Workload, Question], Request]
    serves: frozenset[str] = frozenset(TITLES)  # names of workloads


@dataclass(frozen=True, slots=True)
class Running:
    """A server that has answered right once."""

    side: Side
    child: Child
    port: int


@contextmanager
def running(side: Side, workload: Workload, folder: Path) -> Iterator[Running]:
    place = Place(folder / f"{workload.name}-{side.name}", free_port(), workload)
    place.folder.mkdir(parents=True)
    child = Child(side.command(place), side.environ(place), place.folder / "log")
    with child:
        for question in workload.questions:
            wait_for(child, place.port, side.request(workload, question))
        yield Running(side, child, place.port)


def model_environ(place: Place) -> dict[str, str]:
    """What a hand-written server is told; one thread a call, as ours has."""
    found = {
        "BENCH_MODEL": str(place.workload.path),
        "BENCH_PORT": str(place.port),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    return {**found, "BENCH_COLUMNS": "1"} if place.workload.columns else found


def predictions(path: str) -> Callable[[Workload, Question], Request]:
    """``{"instances"}`` in and ``{"predictions"}`` out, at one path."""

    def request(_: Workload, question: Question) -> Request:
        is_right = predictions_are(question.predictions)
        return Request(path=path, body=question.body, headers=_JSON, is_right=is_right)

    return request


def _our_environ(place: Place) -> dict[str, str]:
    """The defaults, with JSON in the access log as there is without a terminal; metrics are on."""
    return {
        "MMS_MODELS": str(place.workload.path.parent),
        "MMS_HOST": HOST,
        "MMS_PORT": str(place.port),
        "MMS_CACHE_DIR": str(place.folder / "cache"),
        "MMS_LOG_FORMAT": "json",
        "MMS_DRAIN_DELAY": "0",
    }


def _our_request(workload: Workload, question: Question) -> Request:
    return Request(
        path="/invocations",
        body=question.body,
        headers={**_JSON, "X-Amzn-SageMaker-Target-Model": workload.path.name},
        is_right=predictions_are(question.predictions),
    )


def _echo_request(_: Workload, question: Question) -> Request:
    size = question.answer_size
    return Request(
        path=f"/{size}",
        body=question.body,
        headers=_JSON,
        is_right=lambda answer: len(answer) == size,
    )


def _plain_command(processes: int) -> Callable[[Place], list[str]]:
    def command(place: Place) -> list[str]:
        app = "loadtests.bench.servers.plain:app"
        listen = ["--host", HOST, "--port", str(place.port), "--workers", str(processes)]
        quiet = ["--no-access-log", "--log-level", "warning"]
        return [sys.executable, "-m", "uvicorn", app, *listen, *quiet]

    return command


def _plain(name: str, title: str, processes: int, **settings: str) -> Side:
    return Side(
        name=name,
        title=title,
        command=_plain_command(processes),
        environ=lambda place: {**model_environ(place), **settings},
        request=predictions("/invocations"),
    )


SIDES = {
    side.name: side
    for side in (
        Side(
            name=OURS,
            title="mms",
            command=lambda _: [sys.executable, "-m", "mms", "serve"],
            environ=_our_environ,
            request=_our_request,
        ),
        Side(
            name=ECHO,
            title="bare uvicorn echo",
            command=lambda place: [
                *(sys.executable, "-m", "loadtests.bench.servers.echo"),
                str(place.port),
            ],
            environ=lambda _: {},
            request=_echo_request,
        ),
        _plain(PLAIN, "plain Starlette", 1),
        _plain(INLINE, "plain Starlette, inline", 1, BENCH_INLINE="1"),
        _plain(TWO, "plain Starlette, two processes", 2),
    )
}
