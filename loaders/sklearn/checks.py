"""What is checked of an unpickled model before it may predict.

The restricted unpickler decides what a pickle may do; this decides what the result may hold: no
cache on disk, no reading of files named in requests, and no sizes that would let scikit-learn's
native code, which trusts what ``fit`` left behind, read or write beside its arrays. Pure: looks,
changes nothing. Anything odd is a ``LoadError``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from loaders.base import LoadError
from loaders.pickles import allowlist
from loaders.pickles.extent import Walk
from loaders.pickles.reconstruct import GUARDED, demand
from loaders.pickles.states import check_children
from loaders.sklearn.parts import is_row_wise, parts

_K_MEANS: Final = frozenset({"sklearn.cluster._kmeans", "sklearn.cluster._bisect_k_means"})
_LISTED: Final = allowlist.KINDS.keys() | allowlist.OLDER.keys() | GUARDED.keys()
_KEYWORDS: Final = ("args", "params", "params_")  # ends of attributes that hold some
_NAMES_OF_METHODS: Final = (
    "stack_method",
    "stack_method_",
    "chain_method",
    "chain_method_",
    "response_method",
)
_METHODS: Final = frozenset({
    "auto",
    "predict",
    "predict_proba",
    "predict_log_proba",
    "decision_function",
    "transform",
    "score_samples",
})  # fmt: skip
_TREES_ONLY: Final = frozenset({
    "sklearn.ensemble._forest",
    "sklearn.ensemble._gb",
    "sklearn.ensemble._iforest",
})  # fmt: skip


def check_built(built: Iterable[Any]) -> None:
    """Check every object that a pickle filled; raises LoadError."""
    built = list(built)
    _check_classes(built)
    walk = Walk(estimators=True)  # also of what was put in after the object was filled
    for part in built:
        walk.into(part)
        walk.into(getattr(part, "__dict__", None))
    for part in built:
        state = getattr(part, "__dict__", None)
        if not state:
            continue
        try:
            _check_methods(part, state)
            _check_side_effects(part, state)
            _check_sizes(part, state)
        except (LoadError, MemoryError):
            raise
        except Exception as error:
            name = type(part).__name__
            raise LoadError(f"the {name} in the pickle isn't as scikit-learn makes it") from error


def _check_classes(built: list[Any]) -> None:
    """A model may hold types of numbers and texts, and what an operator allowed.

    Others are on the list to be made and filled, not to be called: an array's class gives out any
    memory, a sparse matrix's believes every index.
    """
    within = [one for one in built if not isinstance(one, type)]  # a bare class is no model anyway
    for part in parts(within):
        if not isinstance(part, type) or issubclass(part, np.generic):
            continue
        if part.__module__ != "builtins" and f"{part.__module__}:{part.__qualname__}" in _LISTED:
            raise LoadError(f"the pickle holds the class {part.__name__} within a model: refused")


def _check_methods(part: Any, state: dict[str, Any]) -> None:
    """The names of methods that are called of a model's parts: of an array, some write files."""
    for key, value in state.items():
        if not key.endswith(_NAMES_OF_METHODS):
            continue
        named = value if type(value) in {list, tuple} else [value]
        if not all(one is None or (type(one) is str and one in _METHODS) for one in named):
            raise LoadError(
                f"the {type(part).__name__} calls a method that doesn't predict ({key}): refused"
            )


def _check_side_effects(part: Any, state: dict[str, Any]) -> None:
    name = type(part).__name__
    if state.get("memory") is not None:
        raise LoadError(
            f"the {name} has memory= set, which would write to disk; save it with memory=None"
        )
    if state.get("input") in {"file", "filename"} or (
        "Vectorizer" in name and state.get("input", "content") != "content"
    ):
        raise LoadError(
            f"the {name} has input={str(state['input'])[:20]!r}, which would read files; "
            "save it with input='content'"
        )

    if any(_has_out(value) for value in state.values()):
        raise LoadError(f"the {name} passes out= to a function, which would overwrite the model")
    if any(_has_where(key, value) for key, value in state.items()):
        raise LoadError(f"the {name} passes where= to a function, which would leave cells unset")


def _has_where(key: str, value: Any) -> bool:
    """Whether these are keyword arguments by which a NumPy function answers with old memory."""
    return key.endswith(_KEYWORDS) and isinstance(value, dict) and "where" in value


def _has_out(value: Any) -> bool:
    """Whether these are keyword arguments by which a NumPy function writes into an array."""
    return isinstance(value, dict) and isinstance(value.get("out"), (np.ndarray, tuple, list))


def _check_sizes(part: Any, state: dict[str, Any]) -> None:
    if _is_tree(state):
        demand(part.tree_.n_features == part.n_features_in_, "a tree")
    if "_n_support" in state:
        _check_support_vectors(part)
    if type(part).__module__ in _K_MEANS:
        _check_centers(part, state)
    _check_distance(part, state)
    if "_fit_X" in state:
        demand(np.shape(state["_fit_X"])[1] == part.n_features_in_, "neighbours")
    if "_predictors" in state:
        _check_histogram_boosting(part, state)
    if "indptr" in state and "indices" in state:
        part.check_format(full_check=True)
    if type(part).__name__ == "BSpline":
        _check_spline(part)
    if "estimators_" in state:
        _check_trees_together(part, state)


def _check_distance(part: Any, state: dict[str, Any]) -> None:
    """SciPy looks at what it weighs with, but not at the matrix of Mahalanobis' distance."""
    for key, value in state.items():
        if key.endswith(_KEYWORDS) and isinstance(value, dict) and value.get("VI") is not None:
            demand(np.shape(value["VI"]) == (part.n_features_in_,) * 2, "a distance")


def _check_centers(part: Any, state: dict[str, Any]) -> None:
    """K-means looks at the width of a request, never at that of its centers."""
    waiting = [state["_bisecting_tree"]] if "_bisecting_tree" in state else []
    if "cluster_centers_" in state:
        demand(np.shape(part.cluster_centers_)[1] == part.n_features_in_, "clusters")
    while waiting:
        node = waiting.pop()
        demand(np.shape(node.center) == (part.n_features_in_,), "clusters")
        waiting += [child for child in (node.left, node.right) if child is not None]


def _is_tree(state: dict[str, Any]) -> bool:
    return type(state.get("tree_")).__module__ == "sklearn.tree._tree"


def _check_trees_together(part: Any, state: dict[str, Any]) -> None:
    """Ensembles hand their trees an input that was checked against the ensemble only."""
    members = np.ravel(part.estimators_) if len(part.estimators_) else ()
    trees = [m.tree_ for m in members if _is_tree(getattr(m, "__dict__", {}))]
    if type(part).__module__ in _TREES_ONLY:  # hands them an input that they don't check again
        demand(len(trees) == len(members), "trees")
        demand({type(m).__module__ for m in members} <= {"sklearn.tree._classes"}, "trees")
    if not trees:
        return
    if "estimators_features_" in state:
        widths = [len(f) for f in part.estimators_features_]
        demand(all(np.max(f) < part.n_features_in_ for f in part.estimators_features_), "trees")
        demand([t.n_features for t in trees] == widths, "trees")
    else:
        demand(all(t.n_features == part.n_features_in_ for t in trees), "trees")
    if "n_trees_per_iteration_" in state:
        demand(all(t.n_outputs == 1 and t.max_n_classes == 1 for t in trees), "trees")
        demand(is_row_wise(part.init_), "trees")  # a row fewer, and they write beside its answer
        probe = np.zeros((1, part.n_features_in_))
        raw = type(part)._raw_predict_init(part, probe)  # noqa: SLF001
        demand(raw.shape == (1, part.estimators_.shape[1]), "trees")


def _check_histogram_boosting(part: Any, state: dict[str, Any]) -> None:
    demand("_in_fit" not in state, "a boosting model")
    mapper = part._bin_mapper  # noqa: SLF001
    width = len(mapper.is_categorical_)
    demand(width == part.n_features_in_, "a boosting model")
    _check_preprocessor(state.get("_preprocessor"), width)
    for feature in np.flatnonzero(mapper.is_categorical_):
        known = np.asarray(mapper.bin_thresholds_[feature])
        demand(np.all((known >= 0) & (known <= 255)), "a boosting model")
    for predictors in part._predictors:  # noqa: SLF001
        for predictor in predictors:
            nodes = predictor.nodes
            inner = nodes[nodes["is_leaf"] == 0]
            demand(len(nodes), "a boosting model")
            check_children(nodes["left"], nodes["right"], nodes["is_leaf"])
            index = inner["feature_idx"]
            demand(np.all((index >= 0) & (index < width)), "a boosting model")
            sets = inner["bitset_idx"][inner["is_categorical"] != 0]
            demand(np.all(sets < len(predictor.raw_left_cat_bitsets)), "a boosting model")
            is_known = mapper.is_categorical_[index[inner["is_categorical"] != 0]]
            demand(np.all(is_known), "a boosting model")


def _check_preprocessor(columns: Any, width: int) -> None:
    """What encodes a boosting model's categories gives as many columns as it takes."""
    if columns is None:
        return
    steps = [s for s in columns.transformers_ if len(np.arange(width)[np.asarray(s[2])])]
    kinds = {type(step).__name__ for _, step, _ in steps}
    demand(kinds <= {"OrdinalEncoder", "FunctionTransformer"}, "a boosting model")
    demand(all(is_row_wise(step) for _, step, _ in steps), "a boosting model")
    taken = sorted(i for _, _, where in steps for i in np.arange(width)[np.asarray(where)])
    demand(taken == list(range(width)) and columns.remainder == "drop", "a boosting model")


def _check_support_vectors(part: Any) -> None:
    """libsvm takes every size from ``n_support``."""
    counts = np.asarray(part._n_support)  # noqa: SLF001
    n = len(part.support_)
    demand(counts.ndim == 1 and np.all(counts >= 0), "support vectors")
    if part.kernel == "precomputed":
        demand(np.all((part.support_ >= 0) & (part.support_ < part.n_features_in_)), "vectors")
    else:
        demand(part.support_vectors_.shape == (n, part.n_features_in_), "support vectors")
    is_classifier = part._impl in {"c_svc", "nu_svc"}  # noqa: SLF001
    groups = len(counts) if is_classifier else 2
    demand(int(counts.sum() if is_classifier else counts[0]) <= n, "support vectors")
    coefficients = part._dual_coef_
    demand(coefficients.shape == (max(groups - 1, 1), n), "support vectors")
    demand(
        coefficients.data.nbytes == max(groups - 1, 1) * n * 8, "vectors"
    )  # also of a sparse one
    pairs = groups * (groups - 1) // 2
    demand(np.size(part._intercept_) >= pairs, "support vectors")
    for name in ("_probA", "_probB"):
        demand(np.size(getattr(part, name, ())) in {0, pairs}, "support vectors")


def _check_spline(part: Any) -> None:
    n = len(part.t) - part.k - 1
    demand(type(part.k) is int and part.k >= 0 and 0 < n <= len(part.c), "a spline")
    demand(part.t.ndim == 1 and np.all(np.diff(part.t) >= 0), "a spline")
