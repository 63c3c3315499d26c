"""Whether the rows of an ONNX model stand alone, so that requests may run together.

Tried at load, not believed: three rows together must answer as each does alone. The trial is
bounded in time and size; what can't be tried isn't row-wise. Never changes the model.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from loaders.base import Array, TensorSpec

_MOST_VALUES: Final = 1 << 20
_FREE: Final = 4  # the size of a free axis that isn't the rows'
_SECONDS: Final = 5.0
_ROWS: Final = 3
_TOLERANCES: Final = {2: 1e-2, 4: 1e-4, 8: 1e-9}  # by bytes: sums differ by their order

Run = Callable[[dict[str, Array], Any], dict[str, Any]]
"""Inputs and the runtime's run options in, outputs by name out."""


def shares_rows(parts: Iterable[Any]) -> bool:
    """Whether all inputs and outputs that tell have one free first axis in common."""
    names = set()
    for part in parts:
        if part.type.startswith("seq(map("):
            continue  # a list of one map a row
        if not part.type.startswith("tensor(") or not part.shape or isinstance(part.shape[0], int):
            return False
        names.add(part.shape[0])
    return len(names - {None}) <= 1


def is_row_wise(specs: Sequence[TensorSpec], run: Run) -> bool:
    """Try it; raises MemoryError where that is what it comes to."""
    if sum(math.prod(n or _FREE for n in spec.shape[1:]) for spec in specs) > _MOST_VALUES:
        return False
    rng = np.random.default_rng(0)
    arrays = {spec.name: _sample(spec, rng) for spec in specs}
    try:
        with _time_limit() as limit:
            together = run(arrays, limit)
            alone = [
                run({name: array[i : i + 1] for name, array in arrays.items()}, limit)
                for i in range(_ROWS)
            ]
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - values it doesn't like say nothing of its rows
        return False
    return all(_agree(values, [one[name] for one in alone]) for name, values in together.items())


@contextmanager
def _time_limit() -> Iterator[Any]:
    """Run options that end a run which takes too long."""
    import onnxruntime as ort  # a session is open

    options = ort.RunOptions()
    timer = threading.Timer(_SECONDS, setattr, (options, "terminate", True))
    timer.daemon = True
    timer.start()
    try:
        yield options
    finally:
        timer.cancel()
        timer.join()


def _sample(spec: TensorSpec, rng: np.random.Generator) -> Array:
    """Plausible values for an input, whose rows differ."""
    shape = (_ROWS, *(_FREE if n is None else n for n in spec.shape[1:]))
    kind = np.dtype(object if spec.dtype == "str" else spec.dtype)
    if kind.kind == "f":
        return rng.standard_normal(shape).astype(kind)
    values = rng.integers(0, 2, size=shape)  # small, as they may be indices
    values.reshape(_ROWS, -1)[:, :1] = [[0], [1], [0]]
    # texts of digits, so that a cast to a number works
    return values.astype(str if spec.dtype == "str" else kind).astype(kind)


def _agree(together: Any, alone: list[Any]) -> bool:
    if any(np.ndim(a) == 0 or len(a) != 1 for a in alone) or np.ndim(together) == 0:
        return False
    joined = np.concatenate(alone)
    if joined.shape != together.shape:
        return False
    if together.dtype.kind == "f":
        near = _TOLERANCES[together.dtype.itemsize]
        return bool(np.allclose(together, joined, rtol=near, atol=near / 10, equal_nan=True))
    return bool(np.array_equal(together, joined))
