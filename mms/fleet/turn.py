"""One turn of the event loop: what came in it leaves together, at its end.

Requests are read one by one, and go to the workers in batches; frames are made one by one, and go
to a socket in one write. Each step that waited for another turn cost a call into the kernel.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

_log = logging.getLogger("mms.fleet")


class Turn:
    """Made on the loop it belongs to."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._calls: list[Callable[[], None]] = []

    def at_end(self, call: Callable[[], None]) -> None:
        """Call it once everything that is ready to be read has been; in the order of asking.

        What is asked for by such a call is done in the same turn.
        """
        if not self._calls:
            self._loop.call_soon(self._run)
        self._calls.append(call)

    def _run(self) -> None:
        calls = self._calls
        for call in calls:  # which may add to them
            try:
                call()
            except Exception:  # noqa: BLE001 - others wait behind it
                _log.exception("a call at the end of a turn failed")
        calls.clear()
