"""The front's end of the socket: big messages take turns, and its end is told, once."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mms.fleet import wire
from mms.fleet.channel import Channel
from tests.fleet.world import until


class Peer:
    """The other end, read by hand."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.assembler = wire.Assembler()
        self.messages: list[wire.Message] = []

    async def read(self, count: int) -> list[wire.Message]:
        loop = asyncio.get_running_loop()
        while len(self.messages) < count:
            self.messages += self.assembler.feed(await loop.sock_recv(self.sock, 65536))
        return self.messages


class Ends:
    def __init__(self) -> None:
        self.received: list[wire.Message] = []
        self.closed: list[wire.ProtocolError | None] = []
        self.channel = Channel(self.received.append, self.closed.append)


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Ends, Peer]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    ends = Ends()
    await ends.channel.connect(ours)
    with theirs:
        yield ends, Peer(theirs)
        ends.channel.close()
        await asyncio.sleep(0.01)


async def test_big_messages_take_turns_and_small_ones_pass_them() -> None:
    """Two big ones end side by side; a small one sent after them arrives before."""
    bodies = [os.urandom(10 * wire.MAX_FRAME) for _ in range(2)]
    async with connected() as (ends, peer):
        for ident, body in enumerate(bodies):
            ends.channel.send(wire.BATCH, ident, [body])
        await asyncio.sleep(0)
        ends.channel.send(wire.BATCH, 9, [b"small"])
        messages = await peer.read(3)
        assert [m.id for m in messages] == [9, 0, 1]
        assert [m.payload for m in messages[1:]] == bodies


async def test_the_end_is_told_once() -> None:
    async with connected() as (ends, peer):
        peer.sock.shutdown(socket.SHUT_RDWR)
        await until(lambda: ends.closed)
        ends.channel.close()
        await asyncio.sleep(0.01)
        assert ends.closed == [None]
        ends.channel.send(wire.SHUTDOWN, 0)  # into the void


async def test_garbage_ends_it() -> None:
    """What came before counts; nothing after is read."""
    async with connected() as (ends, peer):
        peer.sock.send(wire.frame(wire.READY, 0, (), 0))
        await until(lambda: ends.received)
        peer.sock.send(b"garbage of any kind, and then " + wire.frame(wire.READY, 0, (), 0))
        await until(lambda: ends.closed)
        assert isinstance(ends.closed[0], wire.ProtocolError)
        assert len(ends.received) == 1


async def test_a_channel_closed_before_it_is_connected_stays_closed() -> None:
    """The worker may die while the front still connects."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    ends = Ends()
    ends.channel.close()
    await ends.channel.connect(ours)
    theirs.settimeout(20)
    with theirs:
        await asyncio.sleep(0.01)
        assert theirs.recv(1) == b""
