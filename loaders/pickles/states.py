"""Guarded BUILD for the types whose ``__setstate__`` writes raw memory.

Arrays, dtypes, decision trees, and the KD and ball trees of nearest neighbours: what BUILD hands
them is checked first, in Python, and refused with a ``LoadError``. An array is filled once: a
second BUILD would free memory that a tree may still point to.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import numpy as np

from loaders.pickles.reconstruct import demand, item_count, shape_of

_CHECK_KEYWORDS: Final = frozenset({"dtype", "ensure_all_finite", "force_all_finite"})
_MT_WORDS: Final = 624
_PHILOX_WORDS: Final = 4
_NEIGHBOURS: Final = frozenset({"sklearn.neighbors._kd_tree", "sklearn.neighbors._ball_tree"})
NATIVE: Final = _NEIGHBOURS | {"sklearn.tree._tree", "sklearn.metrics._dist_metrics"}
"""Modules whose objects crash, or worse, if they are used before they are filled."""
_NODE_FIELDS: Final = frozenset({"left_child", "right_child", "feature", "threshold"})


def build_array(array: np.ndarray[Any, Any], state: object) -> None:
    """Fill an empty array, masked or not."""
    demand(array.shape == (0,) and type(state) is tuple, "an array")
    assert isinstance(state, tuple)
    is_masked = isinstance(array, np.ma.MaskedArray)
    demand(len(state) == (7 if is_masked else 5), "an array")
    _check_items(state[1], state[2], state[4])
    if is_masked:
        mask = state[5]
        demand(type(mask) is bytes and len(mask) == item_count(shape_of(state[1])), "an array")
    array.__setstate__(state)


def _check_items(shape: object, kind: object, data: Any) -> None:
    count = item_count(shape_of(shape))
    demand(isinstance(kind, np.dtype), "an array")
    assert isinstance(kind, np.dtype)
    if kind.hasobject:
        demand(kind.kind == "O" and type(data) is list and len(data) == count, "an array")
    else:
        demand(kind.itemsize or not count, "an array")
        demand(type(data) is bytes and len(data) == count * kind.itemsize, "an array")


def build_dtype(kind: np.dtype[Any], state: object) -> None:
    """Give a dtype its byte order, unit or fields; its flags are never taken from outside."""
    demand(type(state) is tuple and len(state) in {8, 9} and kind.names is None, "a dtype")
    assert isinstance(state, tuple)
    _version, order, base, names, fields = state[:5]
    demand(base is None and order in {"<", ">", "|", "="}, "a dtype")
    if names is not None:
        _build_fields(kind, names, fields, state[6])
        return
    demand(fields is None, "a dtype")
    if len(state) == 9 and kind.kind in "mM":
        unit = _unit(state[8])
        kind.__setstate__((4, order, None, None, None, -1, -1, 0, unit))  # type: ignore[attr-defined]
    elif order == ">" and kind.kind in "iufcU":
        size = kind.itemsize if kind.kind == "U" else -1
        align = kind.alignment if kind.kind == "U" else -1
        kind.__setstate__((3, ">", None, None, None, size, align, kind.flags))  # type: ignore[attr-defined]


def _unit(metadata: object) -> tuple[None, tuple[bytes, int, int, int]]:
    demand(type(metadata) is tuple and len(metadata) == 2, "a dtype")
    assert isinstance(metadata, tuple)
    unit = metadata[1]
    demand(type(unit) is tuple and len(unit) in {3, 4} and type(unit[0]) is bytes, "a dtype")
    demand(all(type(n) is int and 0 < n < 2**31 for n in unit[1:]), "a dtype")
    return None, unit


def _build_fields(kind: np.dtype[Any], names: object, fields: Any, alignment: object) -> None:
    demand(kind.kind == "V" and type(names) is tuple and type(fields) is dict, "a dtype")
    assert isinstance(names, tuple)
    demand(all(type(n) is str for n in names) and set(names) == set(fields), "a dtype")
    parts = [fields[n] for n in names]
    demand(all(type(p) is tuple and len(p) == 2 and type(p[1]) is int for p in parts), "a dtype")
    demand(all(isinstance(d, np.dtype) and d.kind in "?biufcSU" for d, _ in parts), "a dtype")
    spec = {
        "names": list(names),
        "formats": [d for d, _ in parts],
        "offsets": [offset for _, offset in parts],
        "itemsize": kind.itemsize,
    }
    is_aligned = type(alignment) is int and alignment > 1
    fresh = np.dtype(spec, align=is_aligned)  # type: ignore[call-overload]
    demand(fresh.itemsize == kind.itemsize, "a dtype")
    _version, _order, _base, names, fields, size, align, flags = fresh.__reduce__()[2]
    kind.__setstate__((3, "|", None, names, fields, size, align, flags))  # type: ignore[attr-defined]


def build_partial(function: partial[Any], state: object) -> None:
    """Give ``check_array`` the keywords that histogram boosting gives it."""
    demand(type(state) is tuple and len(state) == 4, "a partial function")
    assert isinstance(state, tuple)
    target, args, keywords, attributes = state
    demand(target is function.func and args == () and not attributes, "a partial function")
    demand(type(keywords) is dict and set(keywords) <= _CHECK_KEYWORDS, "a partial function")
    function.__setstate__(state)  # type: ignore[attr-defined]


def build_metric(metric: Any, state: Any) -> None:
    """Fill a distance; what it weighs with is as wide as it says."""
    demand(type(state) is tuple and len(state) == 3, "a distance")
    demand(all(type(a) is np.ndarray for a in state[1:]), "a distance")
    demand(state[1].ndim == 1 and state[2].ndim == 2, "a distance")
    demand(state[2].shape[0] == state[2].shape[1], "a distance")
    metric.__setstate__(state)


def build_random(source: Any, state: Any) -> None:
    """Fill a random generator, and look where it will read next."""
    source.__setstate__(state)
    check_random(source)


def check_random(source: Any) -> None:
    """Whether a random generator reads next within what it has."""
    bits = getattr(source, "bit_generator", getattr(source, "_bit_generator", source))
    now = bits.state
    place, buffered = now["state"].get("pos", 0), now.get("buffer_pos", 0)
    demand(0 <= place <= _MT_WORDS and 0 <= buffered <= _PHILOX_WORDS, "a random generator")


def check_natives(natives: list[Any], filled: set[int]) -> None:
    """Whether every native object got its state, trees of neighbours a distance of their width."""
    demand(all(id(native) in filled for native in natives), "a native object")
    for native in natives:
        if type(native).__module__ in _NEIGHBOURS:
            data, metric = native.data, native.__getstate__()[11]
            type(metric)._validate_data(metric, np.asarray(data))  # noqa: SLF001 - its own sizes


def build_tree(tree: Any, state: Any) -> None:
    """Fill a decision tree whose nodes lead forward, within the tree, over features it has."""
    demand(type(state) is dict, "a tree")
    nodes, values, count = state.get("nodes"), state.get("values"), state.get("node_count")
    demand(type(nodes) is np.ndarray and nodes.ndim == 1 and type(values) is np.ndarray, "a tree")
    demand(count == len(nodes) > 0 and set(nodes.dtype.names or ()) >= _NODE_FIELDS, "a tree")
    check_children(nodes["left_child"], nodes["right_child"], nodes["left_child"] == -1)
    feature = nodes["feature"][nodes["left_child"] != -1]
    demand(np.all((feature >= 0) & (feature < tree.n_features)), "a tree")
    tree.__setstate__(state)


def check_children(left: Any, right: Any, is_leaf: Any) -> None:
    """Every inner node's children come after it and exist: no walk leaves the tree or circles."""
    own, inner = np.arange(len(left)), ~np.asarray(is_leaf, dtype=bool)
    for child in (left.astype(np.int64), right.astype(np.int64)):
        demand(np.all((child > own)[inner]) and np.all((child < len(left))[inner]), "a tree")


def build_neighbours(tree: Any, state: Any) -> None:
    """Fill a KD or ball tree whose nodes cover its own points."""
    demand(type(state) is tuple and len(state) == 13, "a tree of neighbours")
    data, index, nodes, bounds, _leaf_size, _levels, n_nodes = state[:7]
    arrays = (data, index, nodes, bounds)
    demand(all(type(a) is np.ndarray and a.size for a in arrays), "a tree of neighbours")
    demand(data.ndim == 2 and index.shape == data.shape[:1], "a tree of neighbours")
    demand(np.all((index >= 0) & (index < len(index))), "a tree of neighbours")
    demand(n_nodes == len(nodes) == bounds.shape[1], "a tree of neighbours")
    demand(bounds.ndim == 3 and bounds.shape[2] == data.shape[1], "a tree of neighbours")
    _check_spans(nodes, len(index))
    weights = state[12]
    demand(weights is None or np.shape(weights) == index.shape, "a tree of neighbours")
    tree.__setstate__(state)


def _check_spans(nodes: np.ndarray[Any, Any], n: int) -> None:
    demand({"idx_start", "idx_end", "is_leaf"} <= set(nodes.dtype.names or ()), "a tree")
    start, end = nodes["idx_start"], nodes["idx_end"]
    demand(np.all((start >= 0) & (start <= end) & (end <= n)), "a tree of neighbours")
    inner = np.flatnonzero(nodes["is_leaf"] == 0)
    demand(not inner.size or 2 * int(inner.max()) + 2 < len(nodes), "a tree of neighbours")
