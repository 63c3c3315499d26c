"""A proxy before the real S3 server that breaks it on demand and remembers what was asked.

It runs its own event loop in a thread. A fault is a short text, as ``FaultProxy.fault`` lists
them; it holds for all requests of its method, or for the first few.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

_CHUNK = 1 << 16
_DRIP_S = 0.02


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it came in; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass(slots=True)
class _Fault:
    kind: str = ""
    args: list[str] = field(default_factory=list)
    method: str = "GET"
    left: int | None = None  # None: for ever
    part: str = ""  # of the paths that it holds for


@dataclass(slots=True)
class _Head:
    first: str
    headers: dict[str, str]
    raw: bytes

    @property
    def has_body(self) -> bool:
        return self.chunked or int(self.headers.get("content-length", "0")) > 0

    @property
    def chunked(self) -> bool:
        return "chunked" in self.headers.get("transfer-encoding", "")


async def _read_head(reader: asyncio.StreamReader) -> _Head:
    raw = await reader.readuntil(b"\r\n\r\n")
    first, *lines = raw.decode("latin-1").strip().split("\r\n")
    headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    return _Head(first, headers, raw)


async def _body(reader: asyncio.StreamReader, head: _Head) -> AsyncIterator[bytes]:
    left = int(head.headers.get("content-length", "0"))
    while left:
        block = await reader.read(min(left, _CHUNK))
        if not block:
            raise ConnectionResetError
        left -= len(block)
        yield block
    while head.chunked:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        if size == 0:  # then trailers, up to an empty line
            while line != b"\r\n":
                yield line
                line = await reader.readuntil(b"\r\n")
            yield line
            return
        yield line + await reader.readexactly(size + 2)


class FaultProxy:
    """A context manager; ``endpoint_url`` is what the client under test is given."""

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._fault = _Fault()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy")
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.seen: list[Seen] = []
        self.before: Callable[[Seen], None] | None = None  # called before a request is passed on
        self.open_connections = 0
        self.endpoint_url = ""

    def fault(
        self, spec: str, *, first: int | None = None, method: str = "GET", part: str = ""
    ) -> None:
        """Break requests of ``method`` from now on, only the ``first`` few if that is given.

        With ``part`` only those whose path or query holds it, as it is encoded.

        ``latency:S`` · ``stall`` (before headers) · ``reset`` · ``stall_body``, ``reset_body``,
        ``truncate`` (all at half) · ``corrupt`` (first byte) · ``status:503:SlowDown`` ·
        ``rate:BYTES_PER_S`` · ``header:Name:value`` (added to the answer) · ``""`` (none).
        """
        kind, *args = spec.split(":")
        self._fault = _Fault(kind, args, method, first, part)

    def count(self, method: str, part: str = "") -> int:
        return sum(seen.method == method and part in seen.path for seen in self.seen)

    def __enter__(self) -> Self:
        self._thread.start()
        host, port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        self.endpoint_url = f"http://{host}:{port}"
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> tuple[str, int]:
        self._server = await asyncio.start_server(self._client, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()[:2]
        return host, port

    async def _shut(self) -> None:
        self._server.close()
        for _ in range(3):  # what was accepted at the last moment shows up in the next turns
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            for writer in self._writers:  # one that closes still has what nobody reads any more
                writer.transport.abort()
            for _ in range(3):
                await asyncio.sleep(0)
        await self._loop.shutdown_default_executor()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        self.open_connections += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while True:
                    await self._exchange(reader, writer)
        finally:
            self.open_connections -= 1
            self._tasks.discard(task)
            writer.transport.abort() if writer.transport.is_closing() else writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await _read_head(reader)
        method, path, _ = head.first.split(" ")
        seen = Seen(method, path, head.headers)
        self.seen.append(seen)
        fault = self._take(seen)
        if head.headers.get("expect"):
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            head.raw = head.raw.replace(b"100-continue", b"")
        body = [block async for block in _body(reader, head)]
        if self.before is not None:
            await asyncio.to_thread(self.before, seen)
        if await self._broken_early(fault, writer):
            return
        up_reader, up_writer = await asyncio.open_connection(*self._upstream)
        self._writers.add(up_writer)
        try:
            up_writer.writelines([head.raw, *body])
            await self._answer(up_reader, writer, fault, method)
        finally:
            up_writer.close()

    def _take(self, seen: Seen) -> _Fault:
        fault = self._fault
        if seen.method != fault.method or fault.part not in seen.path or fault.left == 0:
            return _Fault()
        if fault.left is not None:
            fault.left -= 1
        return fault

    async def _broken_early(self, fault: _Fault, writer: asyncio.StreamWriter) -> bool:
        """Do what happens before the server is asked; whether the request ends there."""
        match fault.kind:
            case "latency":
                await asyncio.sleep(float(fault.args[0]))
            case "stall":
                await asyncio.sleep(3600)
            case "reset":
                _reset(writer)
            case "status":
                xml = f"<Error><Code>{fault.args[1]}</Code><Message>injected</Message></Error>"
                writer.write(
                    f"HTTP/1.1 {fault.args[0]} Injected\r\nContent-Type: application/xml\r\n"
                    f"Content-Length: {len(xml)}\r\n\r\n{xml}".encode()
                )
                return True
        return False

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: _Fault, method: str
    ) -> None:
        head = await _read_head(reader)
        if fault.kind == "header":
            extra = f"\r\n{fault.args[0]}: {':'.join(fault.args[1:])}\r\n\r\n".encode()
            head.raw = head.raw[:-4] + extra
        writer.write(head.raw)
        if method == "HEAD" or not head.has_body:
            return
        half = int(head.headers.get("content-length", "0")) // 2
        sent = 0
        async for block in _body(reader, head):
            for piece in await self._spoilt(fault, block, sent, half, writer):
                writer.write(piece)
                await writer.drain()
                if fault.kind == "rate":
                    await asyncio.sleep(_DRIP_S)
            sent += len(block)

    async def _spoilt(
        self, fault: _Fault, block: bytes, sent: int, half: int, writer: asyncio.StreamWriter
    ) -> list[bytes]:
        match fault.kind:
            case "corrupt" if sent == 0:
                return [bytes([block[0] ^ 0xFF]), block[1:]]
            case "rate":
                step = max(1, int(float(fault.args[0]) * _DRIP_S))
                return [block[at : at + step] for at in range(0, len(block), step)]
            case "stall_body" | "reset_body" | "truncate" if sent + len(block) > half:
                writer.write(block[: half - sent])
                await writer.drain()
                await self._cut(fault.kind, writer)
        return [block]

    async def _cut(self, kind: str, writer: asyncio.StreamWriter) -> None:
        if kind == "stall_body":
            await asyncio.sleep(3600)
        if kind == "reset_body":
            await asyncio.sleep(0.05)  # what was sent should arrive before the reset
            _reset(writer)
        writer.close()
        raise ConnectionResetError


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a RST instead of a FIN."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    raise ConnectionResetError
