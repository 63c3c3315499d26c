"""The way out: whole frames from many threads, and small ones between a big one's."""

from __future__ import annotations

import socket
import threading

from mms.fleet import wire
from mms.worker.outbox import Outbox


def test_messages_of_many_threads_arrive_whole() -> None:
    """And a small one needn't wait for the last frame of a big one."""
    front, worker = socket.socketpair()
    front.settimeout(20)
    with front, worker:
        outbox = Outbox(worker)
        body = bytes(20 * wire.MAX_FRAME)
        big = threading.Thread(target=outbox.post, args=(wire.RESULT, 1, [body]))
        small = [
            threading.Thread(target=outbox.post, args=(wire.RESULT, ident, [b"x"]))
            for ident in range(2, 12)
        ]
        big.start()
        assembler = wire.Assembler()
        assert assembler.feed(front.recv(wire.HEADER_BYTES)) == []  # it has begun
        for thread in small:
            thread.start()
        messages: list[wire.Message] = []
        while len(messages) < 11:
            messages += assembler.feed(front.recv(65536))
        for thread in (big, *small):
            thread.join(20)
    assert {m.id: m.payload for m in messages} == {1: body, **dict.fromkeys(range(2, 12), b"x")}
    assert messages[-1].id == 1
