"""What the loaders of boosted trees share: rows in, one array out.

A framework brings its columns, how a request is made ready, and a function a method; this fits
requests to the columns and tries at load whether rows may run together. Knows no framework.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from loaders.base import (
    Array,
    Batch,
    InputError,
    LoadError,
    LoadOptions,
    Outputs,
    Payload,
    Signature,
    TensorSpec,
)
from loaders.rows.cells import shown
from loaders.rows.columns import Columns, fit_rows

MAX_BYTES: Final = 2 << 30
"""How large a model may be; all of it is in memory while it is checked."""
MAX_FEATURES: Final = 1 << 20
"""How wide a model may be; what is wider is corrupt."""
_OUTPUTS: Final = (TensorSpec(name="", dtype="any", shape=(None,)),)
_PROBE_ROWS: Final = 3
_PROBE_VALUES: Final = 1 << 20


@dataclass(frozen=True)
class Ensemble:
    """A framework's side of one model."""

    format: str
    columns: Columns
    ready: Callable[[Batch], Batch]
    """What the framework takes, of fitted rows: one array. Raises InputError."""
    calls: Mapping[str, Callable[[Any], Any]]
    """What each method does with that array; the first is the default."""
    cell: Callable[[int], Any]
    """A value that a column takes, for the probe."""


class BoostingModel:
    """One model of boosted trees."""

    def __init__(self, ensemble: Ensemble, options: LoadOptions) -> None:
        self.format = ensemble.format
        self.methods = ordered(tuple(ensemble.calls), options.method)
        self._ensemble = ensemble
        self.signature = Signature(inputs=ensemble.columns.specs(), outputs=_OUTPUTS)
        is_given = options.batchable is not None
        self.batchable = bool(options.batchable) if is_given else self._is_row_wise()

    def prepare(self, payload: Payload) -> Batch:
        return self._ensemble.ready(fit_rows(payload, self._ensemble.columns))

    def run(self, method: str, batch: Batch) -> Outputs:
        answer = np.asarray(self._ensemble.calls[method](batch.arrays[""]))
        is_batched = answer.ndim > 0 and len(answer) == batch.rows
        return Outputs(arrays={method: answer}, batched=is_batched)

    def _is_row_wise(self) -> bool:
        """Try it: three rows together against each alone, to the last bit."""
        count = self._ensemble.columns.count or 1
        if count * _PROBE_ROWS > _PROBE_VALUES:
            return False
        rng = np.random.default_rng(0)
        cells = [self._ensemble.cell(i) for i in range(count)]
        rows = [
            [rng.normal() if type(c) is float else c for c in cells] for _ in range(_PROBE_ROWS)
        ]
        try:
            return all(self._agrees(method, rows) for method in self.methods)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - values it doesn't like say nothing of its rows
            return False

    def _agrees(self, method: str, rows: list[list[Any]]) -> bool:
        together = self._answer(method, rows)
        alone = [self._answer(method, [row]) for row in rows]
        if any(a.ndim == 0 or len(a) != 1 for a in alone) or len(together) != len(rows):
            return False
        is_float = together.dtype.kind == "f"
        return np.array_equal(together, np.concatenate(alone), equal_nan=is_float)

    def _answer(self, method: str, rows: list[list[Any]]) -> Array:
        batch = self.prepare(Payload(form="instances", rows=rows))
        answer: Array = self.run(method, batch).arrays[method]
        return answer


def refuse_oversize(path: Path, framework: str) -> None:
    """Raise LoadError for a file that is larger than a model may be."""
    if path.stat().st_size > MAX_BYTES:
        raise LoadError(f"{framework} model of more than {MAX_BYTES >> 30} GiB isn't loaded")


def ordered(methods: tuple[str, ...], default: str | None) -> tuple[str, ...]:
    """The methods, ``default`` first; raises LoadError where it isn't one."""
    if default is None:
        return methods
    if default not in methods:
        raise LoadError(f"the model has no method {shown(default)}, it has {', '.join(methods)}")
    return tuple(sorted(methods, key=lambda name: name != default))


def columns_of(batch: Batch) -> Iterator[Array]:
    """The batch's columns one by one, however the rows were fitted."""
    whole = batch.arrays.get("") if len(batch.arrays) == 1 else None
    if whole is None:
        yield from batch.arrays.values()
    else:
        yield from whole.T


def column_names(names: Sequence[str] | None, count: int) -> tuple[str, ...] | None:
    """The names clients may use; ``None`` where there are none, or only numbers in order."""
    if count > MAX_FEATURES:
        raise LoadError(f"the model is corrupt: it announces {count} features")
    if not names or list(names) == [str(i) for i in range(count)]:
        return None
    if len(names) != count or len(set(names)) != count:
        raise LoadError("the model is corrupt: its features have other names than they should")
    return tuple(names)


def is_tree(left: Any, right: Any, count: int) -> bool:
    """Whether no walk over these children of inner nodes leaves ``count`` nodes, or circles.

    A circle that can be entered from the root (node 0) has a node that is a child twice.
    """
    children = np.concatenate([left, right]).astype(np.int64)
    is_within = np.all((children > 0) & (children < count))
    return bool(is_within) and len(np.unique(children)) == len(children)


def option(options: LoadOptions, name: str, choices: Sequence[str]) -> str:
    """A loader's own option of the manifest, the first choice where it isn't given."""
    refuse_other_options(options, name)
    given = options.options.get(name, choices[0])
    if not isinstance(given, str) or given not in choices:
        raise LoadError(f"manifest.json: option '{name}' must be one of {', '.join(choices)}")
    return given


def refuse_other_options(options: LoadOptions, *known: str) -> None:
    for name in options.options:
        if name not in known:
            raise LoadError(f"manifest.json: this format has no option {shown(name)}")


def cell_error(row: int, label: str, value: object, why: str) -> InputError:
    return InputError(f"row {row}, {label}: {shown(value)} {why}")
