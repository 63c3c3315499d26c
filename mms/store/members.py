"""Many small objects, one GET each: in order, a few ahead, each whole in memory before it is read.

Knows nothing of S3's client: how to get an object is handed in.
"""

from __future__ import annotations

import threading
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from mms.store.ranges import result_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from concurrent.futures import Executor, Future

    from mms.store.base import Listed

    GetWhole = Callable[[Listed, float, threading.Event], list[bytes]]


def read_ahead(
    get_whole: GetWhole, listed: Sequence[Listed], n: int, deadline: float, threads: Executor
) -> Generator[tuple[Listed, Iterator[bytes]], None, None]:
    """Each object with its blocks, ``n`` of them on their way at any time.

    ``get_whole(listed, deadline, stop)`` runs in ``threads`` and gives up when ``stop`` is set,
    which is when the reader has closed early or failed.
    """
    stop = threading.Event()
    left = iter(listed)
    pending = deque[tuple["Listed", "Future[list[bytes]]"]]()

    def ask(more: int) -> None:
        for one in islice(left, more):
            pending.append((one, threads.submit(get_whole, one, deadline, stop)))

    try:
        ask(n)
        while pending:
            one, future = pending[0]
            blocks = result_of(future, deadline)
            pending.popleft()
            ask(1)
            yield one, iter(blocks)
    finally:
        stop.set()
        for _, future in pending:
            future.cancel()
