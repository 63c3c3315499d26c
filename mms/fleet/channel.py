"""The front's end of a worker's socket: messages out, messages in, on the event loop.

Small messages of one turn of the loop leave in one write. Big ones are cut into frames and take
turns, as far as the socket has room; a small one never waits for more than what is in the buffer.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final, cast

from mms.fleet import wire
from mms.fleet.turn import Turn

_FRAMES_A_TURN: Final = 2  # then the loop gets to see to others


class Channel(asyncio.Protocol):
    """``on_close`` is called once: with the error if the peer broke the protocol."""

    def __init__(
        self,
        on_message: Callable[[wire.Message], None],
        on_close: Callable[[wire.ProtocolError | None], None],
    ) -> None:
        self._on_message = on_message
        self._on_close: Callable[[wire.ProtocolError | None], None] | None = on_close
        self._loop = asyncio.get_running_loop()
        self._assembler = wire.Assembler()
        self._transport: asyncio.WriteTransport | None = None
        self._small: list[bytes] = []
        self._big: deque[Iterator[bytes]] = deque()
        self.turn = Turn()
        self._scheduled = self._paused = self._is_shut = self._is_connected = False

    async def connect(self, sock: socket.socket) -> None:
        """Take over ``sock``. What was sent before leaves now."""
        await self._loop.create_unix_connection(lambda: self, sock=sock)
        # Not to be aborted before this line: uvloop takes the descriptor from ``sock`` here only,
        # and it would be closed twice.
        self._is_connected = True
        if self._is_shut:
            self.close()

    def send(self, kind: int, ident: int, parts: Sequence[bytes] = ()) -> None:
        size = sum(map(len, parts))
        if size <= wire.MAX_FRAME:
            self._small.append(wire.frame(kind, ident, parts, size))
        else:
            self._big.append(wire.frames(kind, ident, parts))
        self._schedule()

    def close(self) -> None:
        """At once; what waits to be written is dropped."""
        self._is_shut = True
        self._small.clear()
        self._big.clear()
        if self._transport is not None and self._is_connected:
            self._transport.abort()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self.turn.at_end(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        transport = self._transport
        if transport is None or transport.is_closing():
            self._small.clear()
            self._big.clear()
            return
        if self._small:
            transport.write(self._small[0] if len(self._small) == 1 else b"".join(self._small))
            self._small.clear()
        for _ in range(_FRAMES_A_TURN):
            if self._paused or not self._big:
                return
            message = self._big.popleft()
            frame = next(message, None)
            if frame is not None:
                transport.write(frame)
                self._big.append(message)
        if self._big and not self._paused and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)  # in another turn

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)
        self._schedule()

    def data_received(self, data: bytes) -> None:
        try:
            messages = self._assembler.feed(data)
            for message in messages:
                self._on_message(message)
        except wire.ProtocolError as error:
            self._closed(error)
            self.close()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._schedule()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        self._closed(None)

    def _closed(self, error: wire.ProtocolError | None) -> None:
        if self._on_close is not None:
            on_close, self._on_close = self._on_close, None
            on_close(error)
