"""What a loader is: the seam between the worker and a framework.

``loaders`` imports nothing from ``mms``. A loader turns a folder into a :class:`Model`; the worker
does the rest (codecs, grouping, limits). Rows are always the first axis of every array.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Form = Literal["instances", "inputs", "rows", "csv"]


class LoadError(Exception):
    """The artifact can't be loaded; the message is shown to callers and says what is wrong.

    ``needs`` is what an operator could give so that it loads, in a word or two ("trust",
    "scikit-learn 1.2"); empty where nothing would help.
    """

    def __init__(self, message: str, *, needs: str = "") -> None:
        super().__init__(message)
        self.needs = needs


class InputError(Exception):
    """The request is wrong for this model; names the row (from 0) and the column where it can."""


@dataclass(frozen=True)
class TensorSpec:
    """One input or output: ``dtype`` is NumPy's name, or ``"str"``; ``None`` in shape is any.

    ``"seq(float32)"`` is a list of tensors of any shapes.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Signature:
    """What goes in and comes out, as far as the artifact tells."""

    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()


@dataclass(frozen=True)
class Environment:
    """Another interpreter with libraries of its own, in which models can be loaded."""

    name: str
    versions: Mapping[str, str]  # by distribution name, ``python`` among them


@dataclass(frozen=True)
class LoadOptions:
    """What the operator allows, and what the artifact's manifest says about itself."""

    trusted: bool = False  # full unpickler, own code may run
    allow_globals: frozenset[str] = frozenset()  # further exact names, "pkg.mod:Name"
    program: str = "inference.py"  # the script in code/, where the artifact has one
    shared_code: str = ""  # a folder of this machine with a script for all that have none
    method: str | None = None  # default method
    batchable: bool | None = None  # None: the loader decides
    options: Mapping[str, Any] = field(default_factory=dict)  # the loader's own
    env_match: str = "compatible"  # exact, compatible, warn; off also once it has been looked at
    environments: tuple[Environment, ...] = ()  # where else it can be loaded


@dataclass
class Payload:
    """A decoded request body, before it is fitted to a model.

    ``rows`` holds one entry a row, a list of cells or a mapping by column name (forms
    ``instances``, ``rows``; for ``csv`` always lists of str). ``tensors`` holds nested lists or
    arrays by input name, ``""`` for one without (form ``inputs``). ``sparse`` is a SciPy CSR matrix
    of all rows instead (form ``inputs``, no tensors; only for models with ``takes_sparse``).
    ``flat`` says that a bare one-dimensional array was sent, which is one row to a model of as many
    features and else a column of rows of one feature. ``header`` is CSV's first row where one was
    declared; ``maybe_header`` says that the first row of ``rows`` may be one (the model decides:
    equal to its column names, or not numeric where the model is).
    """

    form: Form
    rows: list[Any] = field(default_factory=list)
    tensors: dict[str, Any] = field(default_factory=dict)
    flat: bool = False
    header: list[str] | None = None
    maybe_header: bool = False
    sparse: Any = None


@dataclass
class Batch:
    """Rows fitted to one model: arrays by input or column name, all with ``rows`` first.

    ``key`` is equal for two batches exactly if they may be concatenated: same names, dtypes and
    trailing shapes. A model of unnamed columns uses the one name ``""``, under which there may be
    a CSR matrix instead of an array.
    """

    rows: int
    arrays: dict[str, Array]

    @property
    def key(self) -> tuple[tuple[str, str, tuple[int, ...]], ...]:
        return tuple(
            (n, a.dtype.str + getattr(a, "format", ""), a.shape[1:]) for n, a in self.arrays.items()
        )


def concatenate(batches: list[Batch]) -> Batch:
    """One batch of all rows in order; the batches' keys are equal."""
    if len(batches) == 1:
        return batches[0]
    names = batches[0].arrays
    return Batch(
        rows=sum(b.rows for b in batches),
        arrays={n: _joined([b.arrays[n] for b in batches]) for n in names},
    )


def _joined(parts: list[Any]) -> Any:
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    from scipy import sparse  # such a part is one of its matrices

    return sparse.vstack(parts, format="csr")


@dataclass
class Outputs:
    """A model's answer: arrays by output name; ``single`` when there is just one.

    An output that the model has no name for is named by the method.

    ``batched`` says that the first axis of every array is the rows of the batch (else the answer
    can't be split, and the batch must have been of one request). ``labels`` name the columns of a
    table whose rows are objects by label wherever a format can say so, a classifier's
    probabilities by class: as many as its last axis is long.
    """

    arrays: dict[str, Any]
    single: bool = True
    batched: bool = True
    labels: dict[str, tuple[Any, ...]] = field(default_factory=dict)


class Model(Protocol):
    """A loaded model. Used by one thread at a time.

    One that takes sparse matrices has an attribute ``takes_sparse`` that is true. One that has a
    method ``stack`` can prepare the rows of several requests at once (``loaders.rows.stacked``).
    """

    format: str
    methods: tuple[str, ...]  # the first is the default
    batchable: bool
    signature: Signature

    def prepare(self, payload: Payload) -> Batch:
        """Fit one request to the model; raises InputError."""
        ...

    def run(self, method: str, batch: Batch) -> Outputs:
        """Predict; raises InputError where the values are refused, MemoryError, or anything."""
        ...


class RawModel(Model, Protocol):
    """A model that answers from the body as it came, by a script; known by having the method."""

    def answer_raw(
        self, body: bytes | str, content_type: str, accept: str, headers: Mapping[str, str]
    ) -> tuple[bytes, str]:
        """The body and the content type of the answer; ``body`` is str for JSON and CSV."""
        ...


class Loader(Protocol):
    """One framework. Found through ``loaders.table``."""

    format: str

    def recognises(self, path: Path, head: bytes) -> bool:
        """Whether ``path`` (a file; its first bytes are ``head``) is a model of this format."""
        ...

    def load(self, path: Path, options: LoadOptions) -> Model:
        """Load it; raises LoadError, MemoryError."""
        ...
