"""The access line: one per request, made by hand because it is on the hot path.

Owns which requests get a line and what it says. Never bodies, custom attributes, query strings or
headers other than the caller's request id. The time is on the wall clock; all else is handed in.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from json.encoder import encode_basestring_ascii as quote

from mms.log.line import clock_time, printable, rfc3339
from mms.log.sink import LogSink
from mms.settings import Settings

SLOW_S = 1.0
SAMPLE = 1000  # of the requests that aren't notable, one in so many gets a line
MAX_CLIENT_ID = 128
MAX_TARGET = 512


class AccessLog:
    """Writes the line of each request that the policy wants."""

    def __init__(
        self, settings: Settings, sink: LogSink, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._write = sink.write
        self._clock = clock
        self._all = settings.access_log == "all"
        self._off = settings.access_log == "off"
        self._json = settings.log_format == "json"
        self._second = -1
        self._second_text = ""
        self._seen = 0

    def record(
        self,
        *,
        request_id: str,
        method: str,
        route: str,
        status: int,
        total_s: float,
        target: str = "",
        version: str = "",
        tier: str = "",
        code: str = "",
        client_id: str = "",
        bytes_in: int = 0,
        bytes_out: int = 0,
        queue_s: float | None = None,
        fetch_s: float | None = None,
        load_s: float | None = None,
        predict_s: float | None = None,
    ) -> None:
        """Note a finished request; ``client_id`` is the caller's X-Request-Id, ``code`` an error's.

        Empty strings and None are left out of the line.
        """
        if self._off or not (self._all or self._is_notable(status, tier, total_s)):
            return
        if not self._json:
            self._write(self._text(method, route, status, total_s, target, tier, code))
            return
        line = (
            f'{{"time":"{self._now()}","level":"info","event":"access",'
            f'"request_id":{quote(request_id)},"method":{quote(method)},"route":{quote(route)},'
            f'"status":{status},"bytes_in":{bytes_in},"bytes_out":{bytes_out},'
            f'"ms":{total_s * 1e3:.3f}'
        )
        if target:
            line += f',"target":{quote(target[:MAX_TARGET])}'
        if tier:
            line += f',"tier":"{tier}","version":{quote(version)}'
        if client_id:
            line += f',"x_request_id":{quote(client_id[:MAX_CLIENT_ID])}'
        if code:
            line += f',"code":{quote(code)}'
        if queue_s is not None:
            line += f',"queue_ms":{queue_s * 1e3:.3f}'
        if fetch_s is not None or load_s is not None:
            line += _cold(fetch_s, load_s)
        if predict_s is not None:
            line += f',"predict_ms":{predict_s * 1e3:.3f}'
        self._write(line + "}")

    def _text(
        self,
        method: str,
        route: str,
        status: int,
        total_s: float,
        *words: str,
    ) -> str:
        words = tuple(printable(word[:MAX_TARGET]) for word in words if word)
        parts = (clock_time(self._clock()), str(status), printable(method), route, *words)
        return f"{' '.join(parts)} {total_s * 1e3:.1f} ms"

    def _is_notable(self, status: int, tier: str, total_s: float) -> bool:
        if status >= 400 or total_s > SLOW_S or tier not in {"", "memory"}:
            return True
        self._seen += 1
        return self._seen % SAMPLE == 0

    def _now(self) -> str:
        """RFC 3339 in UTC; only the milliseconds are made anew within a second."""
        now = self._clock()
        second = int(now)
        if second != self._second:
            self._second = second
            self._second_text = rfc3339(second)[:-4]
        return f"{self._second_text}{int((now - second) * 1000):03d}Z"


def _cold(fetch_s: float | None, load_s: float | None) -> str:
    phases = (("fetch_ms", fetch_s), ("load_ms", load_s))
    return "".join(f',"{name}":{s * 1e3:.3f}' for name, s in phases if s is not None)
