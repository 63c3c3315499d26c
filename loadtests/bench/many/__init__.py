"""The many-model half of the benchmark: cold starts, density, tails beside loads, recovery.

Light to import: what makes models and starts processes is imported once rows are asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Protocol

from loadtests.bench.rows import Row


class Options(Protocol):
    """What this half asks of a command line's options."""

    @property
    def short(self) -> bool: ...

    @property
    def only(self) -> Collection[str]:
        """Scenarios or rows by name; all when empty."""
        ...


def rows(options: Options) -> Iterator[Row]:
    """Every row, each as soon as it is measured; a scenario that breaks gives failed rows."""
    from loadtests.bench.many.run import measured  # scikit-learn and onnx: a second

    return measured(options)
