"""How soon a server that was just called answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from loadtests.bench.many.figures import START
from loadtests.bench.many.places import Server
from loadtests.bench.many.sizes import Sizes
from loadtests.bench.rows import Row


def starts(folder: Path, sizes: Sizes) -> Iterator[Row]:
    """From the call of ``mms serve`` to the first 200; the first start, of cold files, is extra."""
    models = folder / "models"
    models.mkdir()
    seconds = []
    for turn in range(sizes.starts + 1):
        with Server(folder / f"server-{turn}", str(models), {}) as server:
            seconds.append(server.seconds)
            server.wait_ready()  # the next start has the machine to itself
    yield START.row(seconds[1:], first_s=round(seconds[0], 3))
