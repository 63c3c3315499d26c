"""A plain HTTP client for one endpoint, and what an answer must be. Standard library only."""

from __future__ import annotations

import http.client
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Self
from urllib.parse import quote

from loadtests.bench.processes import HOST

TIMEOUT_S = 90.0


class WrongAnswer(RuntimeError):
    """The server answered something else than it must."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request for a model, and the predictions that must come back."""

    target: str
    body: bytes
    expected: Any

    @classmethod
    def rows(cls, target: str, rows: Sequence[Sequence[float]], expected: Any) -> Ask:
        return cls(target, json.dumps({"instances": rows}).encode(), expected)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    tier: str
    timing: str  # the header Server-Timing
    body: bytes
    seconds: float

    def check(self, ask: Ask, tier: str = "") -> Answer:
        """The same answer; raises when it isn't what was asked for, or from another tier."""
        if self.status != 200:
            raise WrongAnswer(f"{ask.target}: {self.status} {self.body[:300]!r}")
        found = json.loads(self.body).get("predictions")
        if not is_same(found, ask.expected):
            raise WrongAnswer(f"{ask.target}: {found!r} instead of {ask.expected!r}")
        if tier and self.tier != tier:
            raise WrongAnswer(f"{ask.target}: from {self.tier}, not from {tier}")
        return self

    @property
    def phases(self) -> dict[str, float]:
        """Milliseconds by phase, as the server tells them."""
        parts = (part.strip().partition(";dur=") for part in self.timing.split(",") if part)
        return {name: float(ms or 0) for name, _, ms in parts}


def is_same(found: Any, expected: Any) -> bool:
    """Equal, numbers to within what another batch or precision may change."""
    if isinstance(expected, list | tuple):
        return (
            isinstance(found, list)
            and len(found) == len(expected)
            and all(map(is_same, found, expected))
        )
    if isinstance(expected, float) and isinstance(found, int | float):
        return math.isclose(found, expected, rel_tol=1e-4, abs_tol=1e-6)
    return bool(found == expected)


class Client:
    """One kept connection; a context manager. Not for several threads."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        began = time.perf_counter()
        try:
            self._connection.request(method, path, body, headers or {})
            response = self._connection.getresponse()
            data = response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()  # the next request opens a new one
            raise
        seconds = time.perf_counter() - began
        tier = response.headers.get("X-MMS-Tier", "")
        timing = response.headers.get("Server-Timing", "")
        return Answer(response.status, tier, timing, data, seconds)

    def ask(self, ask: Ask) -> Answer:
        """Unchecked: see ``Answer.check``."""
        headers = {
            "Content-Type": "application/json",
            "X-Amzn-SageMaker-Target-Model": ask.target,
        }
        return self.request("POST", "/invocations", ask.body, headers)

    def unload(self, target: str) -> None:
        answer = self.request("DELETE", f"/models/{quote(target, safe='')}")
        if answer.status != 200:
            raise WrongAnswer(f"unload of {target}: {answer.status} {answer.body[:300]!r}")

    def metric(self, name: str) -> float:
        """The sum of the samples of this name."""
        text = self.request("GET", "/metrics").body.decode()
        lines = (line for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{")))
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def quantile(values: Sequence[float], q: float) -> float:
    """The smallest value that at least ``q`` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)]


def phases_ms(answers: Sequence[Answer]) -> dict[str, float]:
    """The server's own account: the median of each phase."""
    phases = [answer.phases for answer in answers]
    names = sorted({name for each in phases for name in each})
    return {name: round(median(each.get(name, 0.0) for each in phases), 3) for name in names}
