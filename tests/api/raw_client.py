"""A client that sends exactly the bytes it is told to, and reads responses one by one."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any, cast

HANG_S = 20.0


@dataclass(kw_only=True)
class RawResponse:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        document = json.loads(self.body)
        assert isinstance(document, dict)
        return document


class RawClient:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, port: int) -> RawClient:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> RawResponse:
        await self.send(request_bytes(method, path, body, headers))
        return await self.response(has_body=method != "HEAD")

    async def response(self, *, has_body: bool = True) -> RawResponse:
        async with asyncio.timeout(HANG_S):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status, *lines = head.split("\r\n")[:-2]
            headers = {n.lower(): v for n, v in (line.split(": ", 1) for line in lines)}
            length = int(headers.get("content-length", "0")) if has_body else 0
            body = await self._reader.readexactly(length)
            return RawResponse(status=int(status.split(" ")[1]), headers=headers, body=body)

    async def at_end(self) -> bool:
        """Wait for the server to close; whether nothing more came before it did."""
        async with asyncio.timeout(HANG_S):
            return await self._reader.read() == b""

    def pause_reading(self) -> None:
        """Take nothing of what the server sends, so that it piles up there."""
        cast("asyncio.Transport", self._writer.transport).pause_reading()

    def close(self) -> None:
        self._writer.close()

    def abort(self) -> None:
        self._writer.transport.abort()


def request_bytes(
    method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: test"]
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
