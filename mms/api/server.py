"""The listening side: binds, serves, and ends well.

The first SIGTERM or SIGINT begins the drain: for a while not ready but still serving (a load
balancer takes its time to notice), then the listener closes and what is admitted finishes, and what
isn't done at the deadline is answered with 503. The process's exit status is the caller's business:
signals are never raised again, unlike uvicorn's own. A second SIGINT ends the waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, cast

import uvicorn

from mms.api.build import Api
from mms.api.edge import ConnectionLimits, Edge
from mms.api.ports import NullObserver, Observer
from mms.api.protocol import Connection

BACKLOG = 2048
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_TICK_S = 1.0
_POLL_S = 0.05
_LAST_WORDS_S = 1.0  # kept back from the drain, for the 503s to be written

logger = logging.getLogger("mms.api")


class BindError(Exception):
    """The address can't be listened on; the message names it."""


class Drainable(Protocol):
    """What is told when the drain begins."""

    def begin_drain(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """The settings of the listening side."""

    drain_delay_s: float = 3.0
    drain_timeout_s: float = 25.0  # in all, the delay included
    connection: ConnectionLimits = field(default_factory=ConnectionLimits)


def bind(host: str, port: int, *, backlog: int = BACKLOG) -> socket.socket:
    """A listening socket; port 0 is any free one. Raises BindError.

    It listens at once, so that a port that is taken is known before anything slow starts; clients
    that connect early wait for the server.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, proto, _, address = found[0]
        with contextlib.ExitStack() as undo:
            sock = undo.enter_context(socket.socket(family, kind, proto))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(backlog)
            sock.setblocking(False)
            undo.pop_all()
            return sock
    except OSError as error:
        reason = error.strerror or str(error)
        raise BindError(
            f"Can't listen on {_shown(host, port)}: {reason}. Choose another MMS_HOST or MMS_PORT, "
            "or stop what uses it."
        ) from error


def url_of(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://{_shown(host, port)}"


class Server(uvicorn.Server):
    """uvicorn's server with a drain, a sweep, and signals that end it instead of the process."""

    def __init__(
        self,
        app: Api,
        options: ServerOptions,
        *,
        drainable: Drainable,
        observer: Observer | None = None,
    ) -> None:
        self.edge = Edge(
            limits=options.connection,
            observer=observer or NullObserver(),
            directly=app.directly,
        )
        super().__init__(_config(app, self.edge))
        self._options = options
        self._drainable = drainable
        self._stop = asyncio.Event()

    async def serve_on(self, sock: socket.socket) -> None:
        """Serve until the drain is over."""
        if not self.should_exit:
            await self._serve([sock])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for sock in sockets or []:
            logger.info("listening", extra={"url": url_of(sock)})

    def begin_shutdown(self) -> None:
        """Begin the drain; again is harmless."""
        if self.should_exit:
            return
        self.should_exit = True
        self.edge.is_draining = True
        logger.info("draining", extra={"delay_s": self._options.drain_delay_s})
        self._drainable.begin_drain()
        self._stop.set()

    def force(self) -> None:
        """Wait for nothing any more."""
        self.force_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """For as long as the server runs; nothing is raised afterwards."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._on_signal, number)
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    def _on_signal(self, number: signal.Signals) -> None:
        if self.should_exit and number == signal.SIGINT:
            self.force()
        self.begin_shutdown()

    async def main_loop(self) -> None:
        await self._tick_until(self._stop)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        deadline = started + self._options.drain_timeout_s
        last_words = deadline - min(_LAST_WORDS_S, self._options.drain_timeout_s / 4)
        # 1. Not ready, still serving.
        await self._until(started + self._options.drain_delay_s, lambda: False)
        # 2. Nobody new; idle connections go, answers that are due are finished.
        for server in self.servers:
            server.close()
        for sock in sockets or []:
            sock.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        directly = self.edge.directly.running if self.edge.directly else set()
        await self._until(last_words, lambda: not (self.server_state.tasks or directly))
        # 3. What isn't done is told so, and nobody keeps us.
        unfinished = list(self.server_state.tasks)
        for task in unfinished:
            task.cancel()
        cut_off = list(directly)
        for request in cut_off:
            request.cut_off()
        if unfinished or cut_off:
            count = len(unfinished) + len(cut_off)
            logger.warning("drain timeout", extra={"unfinished": count})
        await self._until(deadline, lambda: not self.server_state.connections)
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    async def _until(self, deadline: float, is_done: Callable[[], bool]) -> None:
        loop = asyncio.get_running_loop()
        while not (self.force_exit or is_done()) and loop.time() < deadline:
            await asyncio.sleep(_POLL_S)
            self.sweep(loop.time())

    async def _tick_until(self, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            await self.on_tick(0)  # writes the Date header
            self.sweep(loop.time())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _TICK_S)

    def sweep(self, now: float) -> None:
        """End connections that have overstayed; ``now`` is on the loop's clock."""
        for connection in list(self.server_state.connections):
            if isinstance(connection, Connection):
                connection.sweep(now)


def _config(app: Api, edge: Edge) -> uvicorn.Config:
    """Everything that uvicorn would else take from the environment or decide itself."""
    connection = cast("Any", partial(Connection, edge=edge))
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=connection,
        ws="none",
        lifespan="off",
        interface="asgi3",
        workers=1,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        forwarded_allow_ips="",
    )


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def serve(
    app: Api,
    options: ServerOptions,
    *,
    sock: socket.socket,
    drainable: Drainable,
    observer: Observer | None = None,
    lifespan: AbstractAsyncContextManager[object] | None = None,
) -> None:
    """Serve on ``sock`` until told to end; returns after the drain.

    ``lifespan`` is entered first and left last; what it raises comes out of here as it is. A signal
    during its start ends the server before it serves.
    """
    server = Server(app, options, drainable=drainable, observer=observer)
    with sock, server.capture_signals():
        async with lifespan or contextlib.nullcontext():
            await server.serve_on(sock)
