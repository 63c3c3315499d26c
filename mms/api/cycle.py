"""One request and its response on a connection: uvicorn's cycle, with decisions of our own.

When an answer begins before its request was read to its end, or while the server drains, it is the
connection's last: it says ``Connection: close``; and where the client may still be sending, the
connection lingers instead of being reset under the answer. An answer that is there as a whole, as
nearly all are, is written as a whole: header by header, checked one by one, cost a fifth of the
front's time.
"""

from __future__ import annotations

import asyncio
import urllib.parse

import httptools
from uvicorn._types import (
    ASGISendEvent,
    HTTPResponseBodyEvent,
    HTTPResponseStartEvent,
    HTTPScope,
)
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from mms.api.edge import Edge
from mms.api.problems import Headers
from mms.api.whole import whole_response


class Cycle(RequestResponseCycle):
    """Made by the connection for each request."""

    def __init__(
        self,
        connection: HttpToolsProtocol,
        scope: HTTPScope,
        edge: Edge,
        *,
        keep_alive: bool,
        expects_100: bool = False,
    ) -> None:
        super().__init__(
            scope=scope,
            transport=connection.transport,
            flow=connection.flow,
            logger=connection.logger,
            access_logger=connection.access_logger,
            access_log=connection.access_log,
            default_headers=connection.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=expects_100,
            keep_alive=keep_alive,
            on_response=connection.on_response_complete,
        )
        self.must_linger = False
        self._edge = edge
        self._start: HTTPResponseStartEvent | None = None

    def client_gone(self) -> None:
        """Its handler is told, unless it is done, and nothing is written any more."""
        if not self.response_complete:
            self.disconnected = True
            self.message_event.set()

    async def send(self, message: ASGISendEvent) -> None:
        start = self._start
        if message["type"] == "http.response.start" and start is None:
            self._start = message  # held back until it is known whether the body is whole
            if self.more_body or self._edge.is_draining:
                self.keep_alive = False
                self.must_linger = self.more_body
        elif (
            message["type"] == "http.response.body"
            and start is not None
            and not self.response_started
            and not message.get("more_body", False)
        ):
            if self.flow.write_paused and not self.disconnected:
                await self.flow.drain()
            if not self.disconnected:
                self._write_whole(start, message)
        else:
            await self._send_part(message)

    async def _send_part(self, message: ASGISendEvent) -> None:
        if self._start is not None and not self.response_started:
            await super().send(self._start)
        if self.must_linger:
            self.keep_alive = True  # the header is written: now only keeps the transport open
        await super().send(message)

    def _write_whole(self, start: HTTPResponseStartEvent, message: HTTPResponseBodyEvent) -> None:
        self.response_started = True
        self.waiting_for_100_continue = False
        headers = [*self.default_headers, *start.get("headers", ())]
        if not self.keep_alive:
            headers.append((b"connection", b"close"))
        body = b"" if self.scope["method"] == "HEAD" else message.get("body", b"")
        self.transport.write(whole_response(start["status"], headers, body))
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive and not self.must_linger:
            self.transport.close()
        self.on_response()


def scope_of(
    connection: HttpToolsProtocol, method: bytes, url: bytes, headers: Headers, http_version: str
) -> HTTPScope:
    """What the application is told of a request. Raises httptools' error for a URL that is none."""
    parsed = httptools.parse_url(url)
    path = parsed.path.decode("ascii")
    return {
        "type": "http",
        "asgi": {"version": connection.asgi_version, "spec_version": "2.3"},
        "http_version": http_version,
        "server": connection.server,
        "client": connection.client,
        "scheme": connection.scheme or "http",
        "method": method.decode("ascii"),
        "root_path": connection.root_path,
        "path": urllib.parse.unquote(path) if "%" in path else path,
        "raw_path": parsed.path,
        "query_string": parsed.query or b"",
        "headers": headers,
        "state": connection.app_state.copy(),
    }
