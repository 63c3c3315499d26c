"""The access line: who gets one, what it says, and that no value can break it."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mms.log.access import AccessLog
from mms.log.sink import LogSink
from mms.settings import load_settings
from mms.settings.host import Host

HOST = Host(cores=2, memory_bytes=1 << 33, terminal=False)


class Lines(LogSink):
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        super().__init__(os.open(os.devnull, os.O_WRONLY))
        self.close()
        os.close(self._fd)

    def write(self, line: str) -> None:
        self.lines.append(line)


def make(now: float = 1.25, **flags: str) -> tuple[AccessLog, list[str]]:
    sink = Lines()
    return AccessLog(load_settings(flags, {}, HOST), sink, clock=lambda: now), sink.lines


def log(access: AccessLog, **changed: Any) -> None:
    request: dict[str, Any] = {
        "request_id": "r-1",
        "method": "POST",
        "route": "/invocations",
        "status": 200,
        "total_s": 0.0125,
    }
    access.record(**{**request, **changed})


def test_a_line_says_it_all() -> None:
    """Every field, milliseconds for times, nothing for what isn't there."""
    access, lines = make()
    log(
        access,
        target="us/ny/a.joblib",
        version="ab12",
        tier="store",
        code="ModelError",
        client_id="c-1",
        bytes_in=10,
        bytes_out=20,
        queue_s=0.001,
        fetch_s=0.2,
        load_s=0.05,
        predict_s=0.0005,
    )
    log(access, route="/ping", method="GET", fetch_s=1.0)
    assert json.loads(lines[0]) == {
        "time": "1970-01-01T00:00:01.250Z",
        "level": "info",
        "event": "access",
        "request_id": "r-1",
        "x_request_id": "c-1",
        "method": "POST",
        "route": "/invocations",
        "target": "us/ny/a.joblib",
        "version": "ab12",
        "tier": "store",
        "status": 200,
        "code": "ModelError",
        "bytes_in": 10,
        "bytes_out": 20,
        "ms": 12.5,
        "queue_ms": 1.0,
        "fetch_ms": 200.0,
        "load_ms": 50.0,
        "predict_ms": 0.5,
    }
    assert set(json.loads(lines[1])) == {
        "time", "level", "event", "request_id", "method", "route", "status", "bytes_in",
        "bytes_out", "ms", "fetch_ms",
    }  # fmt: skip


@given(st.text(max_size=40), st.text(max_size=2000))
def test_nothing_from_outside_breaks_a_line(method: str, text: str) -> None:
    """Quotes, newlines, escapes and broken Unicode: one ASCII line, bounded; text is printable."""
    access, lines = make()
    log(access, method=method, target=text, client_id=text)
    assert json.loads(lines[0])["method"] == method
    assert lines[0].isascii()
    assert lines[0].isprintable()
    assert len(lines[0]) < 10_000
    access, lines = make(log_format="text")
    log(access, method=method, target=text)
    assert lines[0].isprintable()


def test_text_for_people() -> None:
    """Status, what was asked, how it went and how long it took."""
    access, lines = make(log_format="text")
    log(access, target="a/b.joblib", tier="memory")
    assert lines[0].endswith(":01.250 200 POST /invocations a/b.joblib memory 12.5 ms")
    log(access, status=404, target="x", code="ModelNotFound")
    assert lines[1].endswith(" 404 POST /invocations x ModelNotFound 12.5 ms")


@pytest.mark.parametrize(
    "changed",
    [{"status": 400}, {"status": 503}, {"tier": "disk"}, {"tier": "store"}, {"total_s": 1.5}],
)
def test_what_is_notable_gets_a_line(changed: dict[str, Any]) -> None:
    """Errors, cold ones and slow ones."""
    access, lines = make(access_log="notable")
    log(access, **changed)
    assert len(lines) == 1


def test_of_the_others_one_in_a_thousand() -> None:
    """Enough to see what normal looks like."""
    access, lines = make(access_log="notable")
    for _ in range(3000):
        log(access, tier="memory")
    assert len(lines) == 3


def test_off_and_all() -> None:
    """Off writes nothing, not even errors; all writes all."""
    access, lines = make(access_log="off")
    log(access, status=500)
    assert lines == []
    access, lines = make(access_log="all")
    for _ in range(10):
        log(access)
    assert len(lines) == 10


def test_time_moves_on() -> None:
    """The cached second is renewed when it is over."""
    now = 0.999
    sink = Lines()
    access = AccessLog(load_settings({}, {}, HOST), sink, clock=lambda: now)
    for now in (0.999, 1.0, 1.0015, 61.5):  # noqa: B007 - the clock above reads it
        log(access)
    times = [json.loads(line)["time"][-10:] for line in sink.lines]
    assert times == ["00:00.999Z", "00:01.000Z", "00:01.001Z", "01:01.500Z"]
