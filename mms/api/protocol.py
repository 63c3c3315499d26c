"""One HTTP/1.1 connection, with the bounds that uvicorn's own protocol doesn't have.

Memory: a request's head, its trailers and whatever else stands between two pieces of a body are
bounded in bytes, header fields and pipelined requests in number. Time: idle connections, heads that
trickle in and answers nobody reads are ended by one sweep over all connections, not by timers of
their own. What the parser refuses is answered in the format of every other error, in turn behind
the answers still due. A connection whose request was not read to its end is closed gently: the
client can read the answer, and what it goes on sending is dropped, within bounds.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import httptools
from uvicorn import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from mms.api.cycle import Cycle, scope_of
from mms.api.direct import Direct, Post
from mms.api.edge import Edge, refusal
from mms.api.exchange import ARRIVED
from mms.api.problems import Headers
from mms.api.request_head import head_without_upgrade
from mms.api.whole import whole_response
from mms.errors import HeadersTooLarge, MmsError, RequestTimeout, ValidationError

Phase = Literal["idle", "head", "busy", "lingering"]


class Connection(HttpToolsProtocol):
    """A client's connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        edge: Edge,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.edge = edge
        self._limits = edge.limits
        self._phase: Phase = "idle"
        self._since = self.loop.time()  # of the phase
        self._write_paused_since: float | None = None
        self._is_in_head = False
        self._is_in_message = False
        self._quiet_bytes = 0  # fed since the parser last made progress: trailers, extensions
        self._waiting_bytes = 0  # read since a request waits for the one that runs
        self._dropped_bytes = 0
        self._refusal: MmsError | None = None  # the input is broken; nothing more is parsed
        self._running: Cycle | Direct | None = None
        self._latest: Cycle | None = None
        self._held: list[bytes] | None = None  # a body that may yet go the short way

    # -- input ------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._phase == "lingering":
            self._drop(len(data))
            return
        if self._refusal is not None:  # to be answered when those before it are
            self._drop(len(data))
            return
        self._quiet_bytes += len(data)
        if self.pipeline:  # nothing else counts what waits: permits are taken in their turn
            self._waiting_bytes += len(data)
            if self._waiting_bytes > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
        try:
            self._feed(data)
            if self._held is not None:  # more of it is to come
                self._let_go(self._held)
        except (httptools.HttpParserError, UnicodeDecodeError):
            self._held = None
            self._refuse(ValidationError("This is not a valid HTTP/1.1 request."))
            return
        if self._quiet_bytes > self._limits.max_head_bytes:
            self._refuse(self._too_large())

    def _feed(self, data: bytes) -> None:
        """Parse, taking requests that offer to upgrade (Java's client does) as plain HTTP/1.1."""
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                method = self.parser.get_method()
                if method == b"CONNECT":
                    raise httptools.HttpParserError from None
                self.parser.feed_data(head_without_upgrade(method, self.url, self.headers))
                data = data[upgrade.args[0] :]
            else:
                return

    def on_message_begin(self) -> None:
        self._is_in_head = self._is_in_message = True
        if self._running is None:
            self._enter("head")
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_in_head:  # else a trailer, which nobody asked for
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))

    def _check_head(self) -> None:
        """Raise for a head beyond the bounds; called with what was fed since it began, at most."""
        limits, headers = self._limits, self.headers
        if len(headers) <= limits.max_headers:
            if self._quiet_bytes <= limits.max_head_bytes:
                return
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in headers)
            if size <= limits.max_head_bytes:
                return
        self._refusal = self._too_large()
        raise self._refusal

    def _too_large(self) -> HeadersTooLarge:
        return HeadersTooLarge(
            f"The request line and headers may have {self._limits.max_head_bytes} bytes "
            f"and {self._limits.max_headers} fields."
        )

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # see _feed
        self._check_head()
        self._is_in_head = False
        self._quiet_bytes = 0
        if self._running is not None:
            self._queue_up()
        elif self._may_go_the_short_way():
            self._held = []
        else:
            self._start(self._new_cycle())

    def _queue_up(self) -> None:
        if len(self.pipeline) >= self._limits.max_pipelined:
            self._refusal = ValidationError("Too many requests were sent without waiting.")
            raise self._refusal
        if isinstance(self._running, Cycle):  # which reads on, to see whether the client goes
            self.flow.pause_reading()
        self.pipeline.appendleft((self._new_cycle(), self.app))

    def _may_go_the_short_way(self) -> bool:
        edge, parser = self.edge, self.parser
        return (
            edge.directly is not None
            and parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not (self.expect_100_continue or edge.is_draining or self.flow.write_paused)
        )

    def on_body(self, body: bytes) -> None:
        self._quiet_bytes = 0
        if self._held is None:
            super().on_body(body)
        else:
            self._held.append(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._quiet_bytes = 0
        self._is_in_message = False
        if self._held is None:
            super().on_message_complete()
        else:
            held, self._held = self._held, None
            self._take(held[0] if len(held) == 1 else b"".join(held))

    # -- the short way ----------------------------------------------------------------------------

    def _take(self, body: bytes) -> None:
        """A request that came as a whole, and that nothing speaks against so far."""
        directly = self.edge.directly
        assert directly is not None
        client = self.client[0] if self.client else ""
        direct = directly.take(self, Post(self.url, self.headers, body, client))
        if direct is None:
            self._start(self._new_cycle(), body, is_whole=True)
        else:
            self._running = direct
            self._enter("busy")

    def _let_go(self, held: list[bytes]) -> None:
        """Too large or too slow for the short way: the rest is read as it comes."""
        self._held = None
        self._start(self._new_cycle(), b"".join(held))

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Write the whole answer to the request that runs; the next one may follow."""
        is_last = self.edge.is_draining
        headers += self.server_state.default_headers
        if is_last:
            headers.append((b"connection", b"close"))
        self.transport.write(whole_response(status, headers, body))
        if is_last:
            self.transport.close()
        self.on_response_complete()

    def go_the_long_way(self, post: Post, started: float, /) -> None:
        """Answer the request that runs by a task after all, by the deadline that it had."""
        scope = scope_of(self, b"POST", post.url, post.headers, "1.1")
        scope["state"][ARRIVED] = started
        cycle = Cycle(self, scope, self.edge, keep_alive=True)
        self._start(cycle, post.body, is_whole=True)

    def abort(self) -> None:
        self.transport.abort()

    # -- the long way: a task -----------------------------------------------------------------

    def _new_cycle(self) -> Cycle:
        """For the request whose head has just been read."""
        version = self.parser.get_http_version()
        scope = scope_of(self, self.parser.get_method(), self.url, self.headers, version)
        keep_alive = version != "1.0" and self.parser.should_keep_alive()
        self.cycle = self._latest = cycle = Cycle(
            self, scope, self.edge, keep_alive=keep_alive, expects_100=self.expect_100_continue
        )
        return cycle

    def _start(self, cycle: Cycle, body: bytes = b"", *, is_whole: bool = False) -> None:
        """Run it, with what has come of its body so far."""
        if body or is_whole:
            cycle.body += body
            cycle.more_body = not is_whole
            cycle.message_event.set()
        self._running = cycle
        self._enter("busy")
        self._start_asgi_task(cycle, self.app)

    # -- answers ----------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        cycle, self._running = self._running, None
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if isinstance(cycle, Cycle) and cycle.must_linger:
            self._linger()
            return
        self.flow.resume_reading()
        self._waiting_bytes = 0
        if self.pipeline:
            self._start(self.pipeline.pop()[0])  # type: ignore[arg-type]
        elif self._refusal is not None:
            self._write_refusal(self._refusal)
        else:
            self._enter("head" if self._is_in_message else "idle")

    def _refuse(self, error: MmsError) -> None:
        """Answer broken input, once its turn comes; a bound that stopped the parser says why."""
        self._refusal = error = self._refusal or error
        broken = self._latest
        if broken is not None and broken.more_body and not broken.response_complete:
            if broken is self._running:
                if broken.response_started:
                    self.transport.close()
                    return
                broken.client_gone()
                self._running = None
            elif self.pipeline and self.pipeline[0][0] is broken:
                self.pipeline.popleft()
        if self._running is None:
            self._write_refusal(error)

    def _write_refusal(self, error: MmsError) -> None:
        client = self.client[0] if self.client else ""
        self.transport.write(refusal(error, self.edge, client=client))
        self._linger()

    # -- the end ----------------------------------------------------------------------------------

    def _linger(self) -> None:
        """Say that nothing more will come, and let the client finish reading."""
        self._enter("lingering")
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def _drop(self, nbytes: int) -> None:
        self._dropped_bytes += nbytes
        if self._dropped_bytes > self._limits.linger_bytes:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        waiting = [cycle for cycle, _ in self.pipeline]
        self.pipeline.clear()
        running, self._running = self._running, None
        for request in (running, *waiting):
            if isinstance(request, (Cycle, Direct)):
                request.client_gone()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server stops: close unless an answer is due."""
        if self._running is None and self._phase != "lingering":
            self.transport.close()

    def pause_writing(self) -> None:
        self._write_paused_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._write_paused_since = None
        super().resume_writing()

    def sweep(self, now: float) -> None:
        """End the connection if it has overstayed."""
        limits, waited = self._limits, now - self._since
        paused = self._write_paused_since
        if paused is not None and now - paused > limits.unread_answer_s:
            self.transport.abort()
        elif self._phase == "idle" and waited > limits.keep_alive_s:
            self._close_idle()
        elif self._phase == "head" and waited > limits.head_timeout_s:
            self._refuse(
                RequestTimeout(
                    f"The request's headers did not arrive within {limits.head_timeout_s:g} s."
                )
            )
        elif self._phase == "lingering" and waited > limits.linger_s:
            self.transport.abort()

    def _close_idle(self) -> None:
        """A peer that doesn't even take the last answer would keep a mere close waiting."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self._since = self.loop.time()
