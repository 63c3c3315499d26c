"""A worker's life after the fork: make the process its own, say READY, read until the front goes.

The main thread reads the socket; batches and loads are run elsewhere (``executor``, ``loading``).
User code can't get at the channel by printing: stdout is stderr here. Signals that end a process
politely are ignored, since the front decides. Never returns: the process ends with the socket.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import random
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from mms.fleet import wire
from mms.fleet.page import StatusPage
from mms.worker.executor import Executor, RunBatch
from mms.worker.loading import LoadModel, LoadSlot
from mms.worker.outbox import Outbox

HEARTBEAT_S: Final = 0.5
_OOM_SCORE: Final = 500  # above the front's own, so that the kernel takes a worker first


@dataclass(frozen=True)
class Runtime:
    """What a worker does with models; the default is ``mms.worker.runtime``."""

    load_model: LoadModel
    run_batch: RunBatch


def run(
    sock: socket.socket, page: StatusPage, runtime: Runtime, *, threads: int, max_rows: int
) -> NoReturn:
    """Serve the front until it closes the socket or says SHUTDOWN."""
    _settle_in()
    page.beat()
    threading.Thread(target=_beat, args=(page,), name="mms-heart", daemon=True).start()
    outbox = Outbox(sock)
    executor = Executor(runtime.run_batch, page, outbox, threads=threads, max_rows=max_rows)
    slot = LoadSlot(runtime.load_model, executor, outbox)
    outbox.post(wire.READY, 0)
    _read(sock, executor, slot)
    _leave()


def _read(sock: socket.socket, executor: Executor, slot: LoadSlot) -> None:
    buffer = memoryview(bytearray(wire.MAX_FRAME))
    # The front is trusted to bound what it sends.
    assembler = wire.Assembler(max_message=1 << 62, max_open=1 << 30)
    while True:
        try:
            count = sock.recv_into(buffer)
        except OSError:
            return
        if not count:
            return
        if not _hand_out(assembler.feed(buffer[:count]), executor, slot):
            return


def _hand_out(messages: list[wire.Message], executor: Executor, slot: LoadSlot) -> bool:
    """False once the worker is to end. A function of its own, so that no body outlives its turn."""
    for message in messages:
        if message.kind == wire.BATCH:
            executor.submit(message.id, message.payload)
        elif message.kind == wire.LOAD:
            slot.load(message)
        elif message.kind == wire.UNLOAD:
            slot.unload(message)
        elif message.kind == wire.SHUTDOWN:
            return False
    return True


def _beat(page: StatusPage) -> None:
    while True:
        page.beat()
        time.sleep(HEARTBEAT_S)


def _settle_in() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    random.seed()
    legacy = sys.modules.get("numpy.random")
    if legacy is not None:  # its global state was made before the fork, the same in every worker
        legacy.seed()
    score = Path("/proc/self/oom_score_adj")
    try:
        own = int(score.read_text(encoding="ascii"))
        score.write_text(str(min(1000, own + _OOM_SCORE)), encoding="ascii")
    except (OSError, ValueError):  # a nicety: some sandboxes have no such file
        pass
    faulthandler.enable(all_threads=False)
    gc.enable()


def _leave() -> NoReturn:
    sys.stderr.flush()
    os._exit(0)
