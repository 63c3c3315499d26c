"""One request, and whether its answer is right: before anything is timed, and after."""

from __future__ import annotations

import http.client
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from loadtests.bench.processes import HOST, Child, ChildError, pause_until

_TOLERANCE = 1e-5
_START_S = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is sent, again and again, and the test of what comes back."""

    path: str
    body: bytes
    headers: Mapping[str, str]
    is_right: Callable[[bytes], bool]


def predictions_are(expected: list[Any]) -> Callable[[bytes], bool]:
    def is_right(body: bytes) -> bool:
        answer = json.loads(body)
        return isinstance(answer, dict) and agree(answer.get("predictions"), expected)

    return is_right


def agree(found: Any, expected: Any) -> bool:
    """Equal in shape and in values; numbers to what float32 holds."""
    if isinstance(expected, list):
        if not isinstance(found, list) or len(found) != len(expected):
            return False
        return all(map(agree, found, expected))
    if isinstance(expected, float) and isinstance(found, (int, float)):
        return math.isclose(found, expected, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return bool(found == expected)


def ask(port: int, request: Request, connection: http.client.HTTPConnection | None = None) -> str:
    """An empty string when the answer is right, else what was wrong with it."""
    opened = connection or http.client.HTTPConnection(HOST, port, timeout=60)
    try:
        opened.request("POST", request.path, request.body, dict(request.headers))
        answer = opened.getresponse()
        body = answer.read()
    finally:
        if connection is None:
            opened.close()
    if answer.status != 200:
        return f"status {answer.status}: {body[:300]!r}"
    try:
        return "" if request.is_right(body) else f"a wrong answer: {body[:300]!r}"
    except ValueError:
        return f"not JSON: {body[:300]!r}"


def wait_for(child: Child, port: int, request: Request) -> None:
    """Until the server gives its first right answer; raises if it ends or takes too long."""
    deadline = time.monotonic() + _START_S
    wrong = "no answer"
    while True:
        child.check()
        try:
            wrong = ask(port, request)
        except (OSError, http.client.HTTPException) as error:
            wrong = str(error) or type(error).__name__
        if not wrong:
            return
        if wrong.startswith(("a wrong answer", "status 415", "status 422")):  # for good
            raise ChildError(f"{child.command[:4]}: {wrong}")
        pause_until(deadline, f"the first answer of {child.command[:4]}: {wrong} {child.tail()}")


def warm(port: int, request: Request, seconds: float) -> None:
    """One client for a moment, every answer checked: estimates and caches settle."""
    end = time.monotonic() + seconds
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    try:
        while True:
            if wrong := ask(port, request, connection):
                raise ChildError(wrong)
            if time.monotonic() >= end:
                return
    finally:
        connection.close()
