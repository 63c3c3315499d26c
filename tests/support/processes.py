"""What a server really takes: memory by the kernel's count, bytes below its cache folder."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

import psutil

from tests.support.server import Server


def pss(pid: int) -> int:
    """Bytes of memory, shared pages shared out; 0 when the process has gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line[:4] == "Pss:")


def below_front(server: Server) -> int:
    """PSS of the zygote and the workers: what MMS_MEMORY_BUDGET is about."""
    return sum(pss(process.pid) for process in psutil.Process(server.pid).children(recursive=True))


def everything(server: Server) -> int:
    """PSS of all processes of a server."""
    return pss(server.pid) + below_front(server)


def file_bytes(folder: Path) -> int:
    """What the files below a folder hold, as they come and go."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += Path(root, name).stat().st_size
            except FileNotFoundError:
                continue
    return total


class Peak:
    """The highest reading while it runs, taken over and over in a thread; a context manager."""

    def __init__(self, read: Callable[[], int]) -> None:
        self.value = self.readings = 0
        self._read = read
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="peak")

    def _run(self) -> None:
        while not self._end.wait(0.01):
            self.value = max(self.value, self._read())
            self.readings += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
