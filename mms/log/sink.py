"""Where log lines go: a bounded buffer that a thread of its own writes to stderr in batches.

Logging never blocks the event loop and never fails a request: a line is put into memory, and when
stderr is slow or stuck, lines beyond the bound are dropped and counted. Owns the set-up of the
standard library's logging; what a line looks like is :mod:`mms.log.line`'s and
:mod:`mms.log.access`'s business.
"""

from __future__ import annotations

import atexit
import logging
import os
import select
import threading
from queue import SimpleQueue

from mms.log.line import JsonLine, TextLine
from mms.settings import Settings

MAX_HELD_BYTES = 8 << 20
BATCH_S = 0.05  # how long lines may be collected before they are written together
CLOSE_S = 1.0  # how long the end waits for a stderr that is stuck

_QUIET = ("boto3", "botocore", "s3transfer", "urllib3", "asyncio")
_log = logging.getLogger("mms.log")


class LogSink:
    """Takes lines from any thread without blocking; writes them to a file descriptor.

    ``put`` of the queue is re-entrant, so a finaliser or a signal handler may log too. The count of
    bytes held is not locked: threads that race may blur it, and it is right again at every lull.
    """

    def __init__(self, fd: int = 2, *, max_held_bytes: int = MAX_HELD_BYTES) -> None:
        self.dropped = 0  # lines, since the start
        self._fd = fd
        self._max_held_bytes = max_held_bytes
        self._held_bytes = 0
        self._is_closed = False
        self._queue: SimpleQueue[str | None] = SimpleQueue()  # None: the end
        self._hurry = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Take one line (without its newline) and return at once; after the end, once written."""
        size = len(line)
        if self._is_closed:
            self._write_all(f"{line}\n".encode("utf-8", "backslashreplace"))
        elif self._held_bytes + size > self._max_held_bytes:
            self.dropped += 1
        else:
            self._held_bytes += size
            self._queue.put(line)

    def hurry(self) -> None:
        """Write what is held now rather than with the next batch; doesn't wait for it."""
        self._hurry.set()

    def close(self) -> None:
        """Write what is held and stop; gives up after a second if nobody reads stderr."""
        self._queue.put(None)
        self._hurry.set()
        self._thread.join(CLOSE_S)
        self._is_closed = not self._thread.is_alive()

    def _run(self) -> None:
        reported = 0
        line = self._queue.get()
        while line is not None:
            self._hurry.wait(BATCH_S)
            self._hurry.clear()
            lines, ended = self._take(line)
            self._write_all("\n".join([*lines, ""]).encode("utf-8", "backslashreplace"))
            self._release(lines)
            if self.dropped > reported:
                count, reported = self.dropped - reported, self.dropped
                _log.warning("log lines dropped", extra={"dropped": count})
            line = None if ended else self._queue.get()

    def _take(self, first: str) -> tuple[list[str], bool]:
        """All lines that are held, and whether the end is among them."""
        lines = [first]
        while not self._queue.empty():
            line = self._queue.get()
            if line is None:
                return lines, True
            lines.append(line)
        return lines, False

    def _release(self, lines: list[str]) -> None:
        """What has been written is held no more."""
        written = sum(map(len, lines))
        self._held_bytes = 0 if self._queue.empty() else max(0, self._held_bytes - written)

    def _write_all(self, data: bytes) -> None:
        """Write it all, however slowly."""
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:  # someone made the shared stderr non-blocking
                select.select([], [self._fd], [], 1.0)
            except OSError:  # stderr is gone: nobody reads, and serving goes on
                return


class SinkHandler(logging.Handler):
    """The standard library's way into the sink; an error is written without delay."""

    def __init__(self, sink: LogSink, formatter: logging.Formatter) -> None:
        super().__init__()
        self.sink = sink
        self.formatter = formatter

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.sink.write(self.format(record))
        except Exception:  # noqa: BLE001 - logging must never fail its caller
            self.sink.write(f'{{"level":"error","event":"unloggable event","logger":"{__name__}"}}')
        if record.levelno >= logging.ERROR:
            self.sink.hurry()


def configure(settings: Settings, *, fd: int = 2) -> LogSink:
    """Route all logging of the process to ``fd``; call once. The caller closes what it gets."""
    sink = LogSink(fd)
    level = getattr(logging, settings.log_level.upper())
    formatter = JsonLine() if settings.log_format == "json" else TextLine()
    root = logging.getLogger()
    root.handlers[:] = [SinkHandler(sink, formatter)]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = name != "uvicorn.access"  # the access line is our own
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    logging.captureWarnings(capture=True)
    atexit.register(sink.close)
    return sink
