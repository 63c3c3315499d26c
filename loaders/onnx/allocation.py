"""A bound on what a piece of code may allocate, for libraries that believe what a file announces.

The kernel's own limit on a process's data, lowered for a while: an allocation beyond it fails as if
memory had run out, before a page of it is touched. It is the process's, so other threads are under
it meanwhile: for loads, of which there is one at a time, with room to spare for the others.
"""

from __future__ import annotations

import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_one_at_a_time = threading.Lock()  # else the last to leave would put back the first one's limit


@contextmanager
def at_most(extra: int) -> Iterator[None]:
    """Let the process take about ``extra`` bytes more than it has now."""
    with _one_at_a_time:
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        limits = [n for n in (soft, hard) if n != resource.RLIM_INFINITY]
        most = min([_data_bytes() + extra, *limits])
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data_bytes() -> int:
    """What the process has of the memory that the limit counts, and its stack."""
    pages = Path("/proc/self/statm").read_bytes().split()[5]
    return int(pages) * resource.getpagesize()
