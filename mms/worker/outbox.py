"""The worker's way out: every thread's answers, one socket, whole frames only.

A small answer is one ``sendall``. A big one lets the lock go between its frames, and stands in line
again for it, so that small ones slip in.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Sequence

from mms.fleet import wire


class Outbox:
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lock = threading.Lock()
        self._turn = (
            threading.Lock()
        )  # held while waiting for _lock, so that its owner can't hog it

    def post(self, kind: int, ident: int, parts: Sequence[bytes] = ()) -> None:
        size = sum(map(len, parts))
        if size <= wire.MAX_FRAME:
            self._send(wire.frame(kind, ident, parts, size))
            return
        for frame in wire.frames(kind, ident, parts):
            self._send(frame)

    def _send(self, frame: bytes) -> None:
        with self._turn:
            self._lock.acquire()
        try:
            self._sock.sendall(frame)
        except OSError:  # the front is gone: nobody to work for
            os._exit(0)
        finally:
            self._lock.release()
