"""Logging of the processes below the front: the same lines, each written at once, with no thread.

A zygote may not have a thread, and a worker that is killed would lose what a buffer held.
"""

from __future__ import annotations

import logging
import os

from mms.log.line import JsonLine, TextLine


class PlainHandler(logging.Handler):
    """Writes each line in one piece, so that lines of several processes don't mix."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            os.write(2, f"{self.format(record)}\n".encode("utf-8", "backslashreplace"))
        except Exception:  # noqa: BLE001 - logging must never fail its caller
            return


def log_to_stderr(log_format: str, log_level: str) -> None:
    """Route all logging of this process and its forks to stderr."""
    handler = PlainHandler()
    handler.setFormatter(JsonLine() if log_format == "json" else TextLine())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(log_level.upper())
