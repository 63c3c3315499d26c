"""Writes ``allowlist_data.py``; to be run as a module after an upgrade.

Fits a small instance of every estimator of the installed scikit-learn, in every variant that its
own test suite knows, pickles it the ways users do, and records which names the pickles bring up and
what for: classes made or filled, callables called, values only mentioned. Never part of serving.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import pickle
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import pandas as pd
from sklearn.experimental import enable_halving_search_cv, enable_iterative_imputer  # noqa: F401
from sklearn.metrics import get_scorer, get_scorer_names
from sklearn.utils import all_estimators
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from loaders.pickles.reconstruct import GUARDED

Names = dict[str, set[str]]
_OWN_NAME: Final = "loaders.pickles.generate_allowlist"
_ROOTS: Final = frozenset({"builtins", "collections", "numpy", "pandas", "scipy", "sklearn"})

# What users put into parameters, beyond what the test suite's variants bring up.
_VALUES: Final = {
    "numpy": "mean median min max sum float32 float64 int8 int16 int32 int64 uint8 uint16 uint32"
    " uint64 bool bool_ str_ ndarray",
    "sklearn.feature_selection._univariate_selection": "f_classif f_regression chi2 r_regression",
    "sklearn.feature_selection._mutual_info": "mutual_info_classif mutual_info_regression",
    "sklearn.utils.validation": "check_array",
    "builtins": "int float str bool object dict list tuple",
}
_NEW: Final = {
    "sklearn.multiclass": "_ConstantPredictor",
    "sklearn.utils._bunch": "Bunch",
    "sklearn.compose._column_transformer": "make_column_selector",
    "scipy.sparse._csr": "csr_matrix csr_array",
    "scipy.sparse._csc": "csc_matrix csc_array",
    "collections": "OrderedDict",
}
_CALLS: Final = {
    "builtins": "slice complex",
    "collections": "OrderedDict defaultdict",
}
_FAMILIES: Final = {
    "sklearn._loss.loss": "BaseLoss",
    "sklearn._loss.link": "BaseLink Interval",
    "sklearn.gaussian_process.kernels": "Kernel",
    "sklearn.metrics._dist_metrics": "DistanceMetric DistanceMetric32",
    "sklearn.model_selection._split": "BaseCrossValidator BaseShuffleSplit _RepeatedSplits",
}

_Machine: Final[Any] = vars(pickle)["_Unpickler"]


class Tracer(_Machine):  # type: ignore[misc]
    """Unpickles with everything allowed and notes what each name is used for."""

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(_Machine.dispatch)

    def __init__(self, data: bytes, seen: Names) -> None:
        super().__init__(io.BytesIO(data))
        self._seen = seen
        self._names: dict[int, str] = {}

    def find_class(self, module: str, name: str) -> Any:
        found = super().find_class(module, name)
        module = "builtins" if module == "__builtin__" else module
        self._names[id(found)] = f"{module}:{name}"
        self._seen[f"{module}:{name}"].add("value")
        return found

    def note(self, what: object, kind: str) -> None:
        if id(what) in self._names:
            self._seen[self._names[id(what)]].add(kind)

    def load_reduce(self) -> None:
        self.note(self.stack[-2], "call")
        super().load_reduce()

    def load_newobj(self) -> None:
        self.note(self.stack[-2], "new")
        super().load_newobj()


Tracer.dispatch[pickle.REDUCE[0]] = Tracer.load_reduce
Tracer.dispatch[pickle.NEWOBJ[0]] = Tracer.load_newobj


def samples() -> list[tuple[Any, ...]]:
    """What ``fit`` is tried with, in order, until an estimator takes it."""
    rng = np.random.RandomState(0)
    x = np.abs(rng.normal(size=(40, 4)))
    y = (x[:, 0] > np.median(x[:, 0])).astype(int)
    three = np.digitize(x[:, 0], np.quantile(x[:, 0], [0.33, 0.66]))
    words = ["a good movie", "bad film", "good film", "a bad movie"] * 10
    return [
        (x, y),
        (np.floor(x), y),
        (x, three),
        (x, x @ np.array([1.0, 2.0, 3.0, 4.0])),
        (x, np.c_[y, 1 - y]),
        (words, y),
        (x[:, :1], x[:, 0]),
        (x[:, :2], x[:, 2:]),
        (y,),
        ([{"a": 1}, {"b": 2}] * 20, y),
        (x @ x.T, y),
        ([["a"], ["b"]] * 20,),
    ]


def instances(cls: type) -> Iterator[Any]:
    """Every variant of an estimator that scikit-learn's own tests use, and a few of ours."""
    from sklearn.utils._test_common.instance_generator import _construct_instances

    try:
        yield from _construct_instances(cls)
    except Exception:  # noqa: BLE001 - one that can't be made without arguments
        logging.getLogger("mms.loaders").info("no instance", extra={"estimator": cls.__name__})
    yield from _variants(cls)


def _variants(cls: type) -> Iterator[Any]:
    grid: dict[str, tuple[str, str]] = {
        "SGDClassifier": (
            "loss",
            (
                "log_loss modified_huber squared_hinge perceptron huber squared_error"
                " epsilon_insensitive squared_epsilon_insensitive"
            ),
        ),
        "SGDRegressor": ("loss", "huber epsilon_insensitive squared_epsilon_insensitive"),
        "GradientBoostingRegressor": ("loss", "absolute_error huber quantile"),
        "GradientBoostingClassifier": ("loss", "exponential"),
        "HistGradientBoostingRegressor": (
            "loss",
            "absolute_error poisson gamma quantile",
        ),
        "HistGradientBoostingClassifier": ("categorical_features", "0 1"),
        "KNeighborsClassifier": ("algorithm", "ball_tree kd_tree brute"),
        "KernelDensity": ("algorithm", "ball_tree"),
    }
    parameter, values = grid.get(cls.__name__, ("", ""))
    for value in values.split():
        more = {"quantile": 0.5} if value == "quantile" and "Hist" in cls.__name__ else {}
        given: Any = [int(value)] if value.isdigit() else value
        yield cls(**{parameter: given}, **more)


@cache
def fitted() -> list[tuple[Any, tuple[Any, ...] | None]]:
    """Every variant of every estimator, fitted if it can be, with what it was fitted on."""
    np.random.seed(0)  # noqa: NPY002 - what estimators without a random_state of their own use
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        return [(one, _fit(one)) for _, cls in all_estimators() for one in instances(cls)]


def _fit(estimator: Any) -> tuple[Any, ...] | None:
    for data in samples():
        try:
            estimator.fit(*data)
        except Exception:  # noqa: BLE001, S112 - the next kind of data may do
            continue
        return data
    return None


def _pickles(thing: Any) -> Iterator[bytes]:
    for protocol in (2, 4, 5):
        yield pickle.dumps(thing, protocol)


def _on_three_classes() -> Iterator[Any]:
    """Classifiers whose parts differ when there are more than two classes."""
    data = samples()[2]
    for name, cls in all_estimators(type_filter="classifier"):
        with warnings.catch_warnings(), contextlib.suppress(Exception):
            warnings.simplefilter("ignore")
            del name
            yield cls().fit(*data)


def _frames() -> Iterator[Any]:
    """What a ColumnTransformer keeps of a DataFrame's columns."""
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]})
    yield frame.columns
    yield pd.DataFrame(np.ones((2, 2))).columns
    yield pd.Index(np.array(["a", "b"], dtype=object), dtype=object)


def trace() -> Names:
    """Every name and its kinds, from pickles and from the tables above."""
    seen: Names = defaultdict(set)
    for _, cls in all_estimators():
        seen[f"{cls.__module__}:{cls.__name__}"].add("new")
    for estimator, _ in fitted():
        _trace_one(estimator, seen)
    for estimator in _on_three_classes():
        _trace_one(estimator, seen)
    for thing in _frames():
        _trace_one(thing, seen)
    for table, kind in ((_VALUES, "value"), (_NEW, "new"), (_CALLS, "call")):
        for module, names in table.items():
            for name in names.split():
                seen[f"{module}:{name}"].add(kind)
    for name in get_scorer_names():
        function = vars(get_scorer(name))["_score_func"]
        seen[f"{function.__module__}:{function.__name__}"].add("value")
    _add_families(seen)
    _add_ufuncs(seen)
    return {n: k for n, k in seen.items() if _is_wanted(n)}


def _trace_one(thing: Any, seen: Names) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for data in _pickles(thing):
            Tracer(data, seen).load()


def _add_families(seen: Names) -> None:
    for module, bases in _FAMILIES.items():
        found = importlib.import_module(module)
        roots = tuple(getattr(found, b) for b in bases.split() if hasattr(found, b))
        for name, value in vars(found).items():
            if isinstance(value, type) and issubclass(value, roots) and value.__module__ == module:
                seen[f"{module}:{name}"].add("new")


def _add_ufuncs(seen: Names) -> None:
    for name, value in vars(np).items():
        if isinstance(value, np.ufunc):
            seen[f"numpy:{value.__name__ if hasattr(np, value.__name__) else name}"].add("value")


def _is_wanted(name: str) -> bool:
    module, _, attribute = name.partition(":")
    if name in GUARDED or "." in attribute or attribute.startswith("PyFunc"):
        return False
    return module.partition(".")[0] in _ROOTS and ".tests" not in module


def render(names: Names) -> str:
    """The data as a module: one line a kind and module, sorted."""
    lines = [
        f'"""Generated by ``python -m {_OWN_NAME}``: do not edit."""',
        "",
    ]
    for kind in ("new", "call", "value"):
        by_module: dict[str, list[str]] = defaultdict(list)
        for name in sorted(n for n, kinds in names.items() if kind in kinds):
            module, _, attribute = name.partition(":")
            if kind != "value" or not names[name] & {"new", "call"}:
                by_module[module].append(attribute)
        lines += [f'{kind.upper()} = """\\', *_wrapped(by_module), '"""', ""]
    return "\n".join(lines[:-1]) + "\n"


def _wrapped(by_module: dict[str, list[str]]) -> Iterator[str]:
    for module, attributes in by_module.items():
        line = f"{module}:"
        for attribute in attributes:
            if len(line) + len(attribute) > 98:
                yield line
                line = f"{module}:"
            line += f" {attribute}"
        yield line


if __name__ == "__main__":
    Path(__file__).with_name("allowlist_data.py").write_text(render(trace()), encoding="utf-8")
