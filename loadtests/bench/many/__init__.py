"""The many-model half of the benchmark: cold starts, density, tails beside loads, recovery.

Light to import: what makes models and starts processes is imported once a row is asked for.
"""

from __future__ import annotations

from pathlib import Path

from loadtests.bench.many.figures import FIGURES
from loadtests.bench.options import Options
from loadtests.bench.outcome import Outcome, Tell


def measure(options: Options, folder: Path, tell: Tell) -> Outcome:
    """Every wanted row; a scenario that breaks gives rows with errors."""
    if not any(options.wants(figure.name) for figure in FIGURES):
        return Outcome(())
    from loadtests.bench.many.run import measured  # scikit-learn and onnx: a second

    return Outcome(tuple(measured(options, folder, tell)))
