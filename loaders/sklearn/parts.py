"""What a scikit-learn model is made of: the walk through its nested estimators.

Finds every object with attributes below a model, in containers and in arrays of objects too. On it
stands what may be batched: exact classes of scikit-learn whose answer for a row doesn't depend on
the other rows, and no function of a user's. Reads only, but for :func:`bound_threads`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import numpy as np

from loaders.pickles import allowlist
from loaders.pickles.reconstruct import GUARDED

_KNOWN: Final = allowlist.KINDS.keys() | GUARDED.keys()
_LIBRARIES: Final = frozenset({"numpy", "scipy", "pandas", "builtins", "collections", "functools"})
_ATOMS: Final = frozenset({str, bytes, int, float, bool, complex, type(None)})

ROW_DEPENDENT: Final = frozenset({
    "BernoulliRBM",  # random
    "Birch",  # distances lose digits to the batch's own scale
    "IterativeImputer",  # may be random
    "MiniBatchNMF",  # solved for all rows until all are good enough
    "MiniBatchSparsePCA",
    "NMF",
    "PatchExtractor",  # many rows out of one
    "SparsePCA",
})  # fmt: skip
"""Classes of scikit-learn whose answer for a row depends on more than the row."""

_OF_LABELS: Final = frozenset({"LabelBinarizer", "LabelEncoder", "MultiLabelBinarizer"})
"""Fine inside a classifier; alone, the shape of the answer depends on the labels sent."""


def parts(model: Any) -> Iterator[Any]:
    """The model and every object and function below it, each once."""
    seen: set[int] = set()
    waiting = [model]
    while waiting:
        part = waiting.pop()
        if type(part) in _ATOMS or id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, dict):
            waiting.extend(part.values())
            waiting.extend(key for key in part if type(key) is not str)
        elif isinstance(part, (list, tuple, set, frozenset)):
            waiting.extend(part)
        elif isinstance(part, np.ndarray):
            waiting.extend(part.flat if part.dtype.hasobject and part.dtype.kind == "O" else ())
        else:
            yield part
        if not _is_function(part):
            state = getattr(part, "__dict__", {})
            is_masked = isinstance(part, np.ma.MaskedArray)  # keeps its class beside its values
            waiting.extend(v for k, v in state.items() if not (is_masked and k == "_baseclass"))


def _is_function(part: Any) -> bool:
    """A function or a class: its attributes are its maker's."""
    return callable(part) and hasattr(part, "__name__")


def is_row_wise(model: Any) -> bool:
    """Whether rows may be predicted together and give what each gives alone."""
    if type(model).__name__ in _OF_LABELS:
        return False
    return all(_is_row_wise(part) for part in parts(model))


def _is_row_wise(part: Any) -> bool:
    if isinstance(part, np.ufunc):
        return part.nin == 1 and part.signature is None  # goes cell by cell
    if _is_function(part) and not isinstance(part, type):
        is_known = str(part.__module__).startswith("sklearn.") and _full_name(part) in _KNOWN
        return is_known or str(part.__module__).startswith("scipy.")
    kind = part if isinstance(part, type) else type(part)
    if kind.__module__.startswith("sklearn."):
        is_fit = kind.__name__ not in ROW_DEPENDENT and _full_name(kind) in _KNOWN
        return is_fit and (part is kind or _is_row_wise_as_set(kind.__name__, part))
    return kind.__module__.partition(".")[0] in _LIBRARIES


def _is_row_wise_as_set(name: str, part: Any) -> bool:
    """Classes where it depends on how they are set."""
    if name == "FunctionTransformer":  # a user's function may do anything
        return not part.kw_args and all(map(_is_cell_wise, (part.func, part.inverse_func)))
    if name == "DummyClassifier":
        return part.strategy not in {"stratified", "uniform"}
    return True


def _is_cell_wise(function: Any) -> bool:
    """None, a function of NumPy that goes cell by cell, or histogram boosting's mere check."""
    if isinstance(function, partial):
        return _full_name(function.func) == "sklearn.utils.validation:check_array"
    return function is None or isinstance(function, np.ufunc)


def _full_name(thing: Any) -> str:
    return f"{thing.__module__}:{thing.__qualname__}"


def bound_threads(model: Any) -> None:
    """Make every nested estimator predict in the calling thread: workers are the parallelism."""
    for part in parts(model):
        state = getattr(part, "__dict__", {})
        if not _is_function(part) and state.get("n_jobs") is not None:
            part.n_jobs = None
        if not isinstance(part, type) and "_n_threads" in state:  # k-means: those of its training
            part._n_threads = 1  # noqa: SLF001
