"""Short bursts of load, one side after the other and back: A B, B A, A B.

What else the machine does then falls on all of them, and a ratio is taken within one round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from loadtests.bench.processes import ChildError, CpuTime
from loadtests.bench.speed.asking import Request, ask, warm
from loadtests.bench.speed.load import Load, Sample
from loadtests.bench.speed.sides import Running
from loadtests.bench.speed.workloads import Question, Workload

_WARM_S = 0.3


@dataclass(frozen=True, slots=True)
class Measured:
    """One burst, and the processor time that it cost the server."""

    sample: Sample
    cpu: CpuTime

    @property
    def front_us(self) -> float:
        return self.cpu.front / max(1, self.sample.requests) * 1e6

    @property
    def workers_us(self) -> float:
        return self.cpu.workers / max(1, self.sample.requests) * 1e6

    def as_json(self) -> dict[str, Any]:
        derived = {
            "requests_per_s": self.sample.rate,
            "front_us": self.front_us,
            "workers_us": self.workers_us,
            "generator_was_limit": self.sample.is_limited,
        }
        return {**asdict(self.sample), **derived}


Series = dict[str, list[Measured]]  # by the side's name, a burst a round


def measure(
    load: Load,
    servers: Sequence[Running],
    workload: Workload,
    question: Question,
    connections: int,
    *,
    seconds: float,
    rounds: int,
) -> Series:
    """All servers in turn; each is asked for the right answer before and after."""
    requests = {s.side.name: s.side.request(workload, question) for s in servers}
    for server in servers:
        warm(server.port, requests[server.side.name], min(_WARM_S, seconds))
    series: Series = {server.side.name: [] for server in servers}
    for turn in range(rounds):
        for server in servers if turn % 2 == 0 else reversed(servers):
            request = requests[server.side.name]
            series[server.side.name].append(_burst(load, server, request, connections, seconds))
    for server in servers:
        if wrong := ask(server.port, requests[server.side.name]):
            raise ChildError(f"{server.side.name}, after the load: {wrong}")
    return series


def _burst(
    load: Load, server: Running, request: Request, connections: int, seconds: float
) -> Measured:
    server.child.check()
    before = server.child.cpu_time()
    sample = load.burst(server.port, request, connections, seconds)
    return Measured(sample, server.child.cpu_time() - before)


def ratios(ours: Sequence[Measured], theirs: Sequence[Measured]) -> tuple[float, ...]:
    """Of requests a second, round by round; 0 where theirs answered nothing."""
    pairs = zip(ours, theirs, strict=True)
    return tuple(a.sample.rate / b.sample.rate if b.sample.rate else 0.0 for a, b in pairs)


def medians(series: Sequence[Measured]) -> dict[str, float]:
    return {
        "requests_per_s": median(one.sample.rate for one in series),
        "p50_ms": median(one.sample.p50_ms for one in series),
        "p99_ms": median(one.sample.p99_ms for one in series),
        "front_us": median(one.front_us for one in series),
        "workers_us": median(one.workers_us for one in series),
    }


def errors(series: Sequence[Measured]) -> int:
    """Requests that failed, and bursts in which nothing was answered."""
    return sum(one.sample.errors + (not one.sample.requests) for one in series)
