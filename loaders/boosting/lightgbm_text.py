"""A LightGBM model as the text it is, checked in Python before native code sees it.

LightGBM trusts what it loads: offsets of trees, children, features and classes are used as they
stand, so a crafted file makes it read, write or circle where it shouldn't. Anything odd is a
``LoadError``. Never imports LightGBM.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import numpy as np

from loaders.base import LoadError
from loaders.boosting.trees import MAX_FEATURES, is_tree

_MAX_CLASSES: Final = 1 << 20
_MAX_LEAVES: Final = 1 << 24
_TREE: Final = re.compile(rb"^Tree=", re.MULTILINE)
_CATEGORICAL: Final = re.compile(rb"^\[categorical_feature: ([\d,]*)\]$", re.MULTILINE)
_NUMBERS: Final = re.compile(r"[-+\d.eE naif]*", re.ASCII)  # those of LightGBM: nan, inf
_OF_LEAVES: Final = ("leaf_value", "leaf_weight", "leaf_count")
_OF_NODES: Final = ("split_gain", "internal_value", "internal_weight", "internal_count")
_END: Final = re.compile(rb"^end of trees\n", re.MULTILINE)
_KEPT: Final = re.compile(rb"^pandas_categorical:(.*)$", re.MULTILINE)
_IS_CATEGORY: Final = 1  # in decision_type


@dataclass(frozen=True)
class Header:
    """What a model says about itself."""

    names: tuple[str, ...]
    categorical: tuple[int, ...]  # features that were trained as categories
    kept: Any  # the categories of a DataFrame's columns, in their order


def check_text(data: bytes) -> tuple[Header, str]:
    """The header, and the text that predicting needs; raises LoadError.

    What follows the trees (settings of the training, importances) isn't for LightGBM's parser.
    """
    if b"\0" in data or b"\r" in data:
        _refuse("holds zero bytes or Windows line ends: copy it as binary")
    try:
        return _checked(data)
    except (KeyError, ValueError, OverflowError, IndexError, RecursionError) as error:
        raise LoadError("the LightGBM model is corrupt: it isn't as LightGBM writes it") from error


def _checked(data: bytes) -> tuple[Header, str]:
    first = _TREE.search(data)
    start = first.start() if first else data.index(b"\n\n") + 1
    fields = _fields(data[:start])
    features = int(fields["max_feature_idx"]) + 1
    names = fields["feature_names"].split()
    if not 0 < features <= MAX_FEATURES or len(names) != features:
        _refuse("announces another number of features than it names")
    groups = _groups(fields)
    trees = list(_trees(data, start, fields.get("tree_sizes")))
    if len(trees) % groups:
        _refuse("has a round without a tree for every class")
    for tree in trees:
        _check_tree(tree, features)
    end = _END.search(data, start)
    if end is None:
        _refuse("is cut short")
    header = Header(tuple(names), _categorical(data, end.end()), _kept(data, end.end()))
    return header, data[: end.end()].decode()


def _categorical(data: bytes, start: int) -> tuple[int, ...]:
    found = _CATEGORICAL.search(data, start)
    return tuple(int(i) for i in found[1].split(b",") if i) if found else ()


def _kept(data: bytes, start: int) -> Any:
    found = _KEPT.search(data, start)
    return json.loads(found[1]) if found else None


def _fields(lines: bytes, *, strict: bool = False) -> dict[str, str]:
    """The lines' values by name; ``strict`` says that every line has one."""
    fields: dict[str, str] = {}
    for line in lines.decode().split("\n"):
        name, is_field, value = line.partition("=")
        if line and not is_field and strict:
            _refuse(f"says {name[:40]!r} of a tree")
        if line and name in fields:
            _refuse(f"says {name[:40]!r} twice")
        fields[name] = value
    return fields


def _groups(header: dict[str, str]) -> int:
    groups = int(header["num_tree_per_iteration"])
    of_objective = re.search(r"num_class:(\S+)", header.get("objective", ""))
    others = {int(header["num_class"]), int(of_objective[1]) if of_objective else groups}
    if not 0 < groups <= _MAX_CLASSES or others != {groups}:
        _refuse("announces different numbers of classes")
    return groups


def _trees(data: bytes, start: int, sizes: str | None) -> Iterator[dict[str, str]]:
    """The fields of each tree, at the places where LightGBM will look for them."""
    starts = [match.start() for match in _TREE.finditer(data)]
    if sizes is not None:
        announced = np.array(sizes.split(), dtype=np.int64)
        if len(announced) != len(starts) or np.any(announced <= 0):
            _refuse("announces another number of trees than it has")
        if starts and (start + np.cumsum(announced)[:-1]).tolist() != starts[1:]:
            _refuse("announces trees at other places than they are")
        if starts and start + int(announced.sum()) > len(data):
            _refuse("is cut short")
    for begin, end in zip(starts, [*starts[1:], len(data)]):
        blank = data.find(b"\n\n", begin, end)
        if blank < 0:
            _refuse("is cut short")
        yield _fields(data[begin:blank], strict=True)


def _check_tree(tree: dict[str, str], features: int) -> None:
    leaves = int(tree["num_leaves"])
    if not 0 < leaves <= _MAX_LEAVES:
        _refuse("announces a size beyond any")
    _numbers(tree, "leaf_value", leaves, np.float64)
    for names, count in ((_OF_LEAVES, leaves), (_OF_NODES, leaves - 1)):
        for name in names:  # not read in predicting, but LightGBM aborts where they are wrong
            if tree.get(name):
                _numbers(tree, name, count, np.float64)
    float(tree.get("shrinkage", 1))
    if int(tree.get("is_linear", 0)):
        _check_linear(tree, leaves, features)
    if leaves == 1:
        return
    inner = leaves - 1
    left, right, split = (
        _numbers(tree, name, inner, np.int64)
        for name in ("left_child", "right_child", "split_feature")
    )
    # a leaf n is written as -n-1: count the leaves behind the inner nodes
    ids = [np.where(side < 0, inner - 1 - side, side) for side in (left, right)]
    is_real = all(np.all((side < inner) & (side >= -leaves)) for side in (left, right))
    if not is_real or not is_tree(ids[0], ids[1], inner + leaves):
        _refuse("has a tree whose nodes lead out of it")
    if np.any((split < 0) | (split >= features)):
        _refuse("asks for a feature that there isn't")
    _check_categories(tree, inner)


def _check_categories(tree: dict[str, str], inner: int) -> None:
    count = int(tree["num_cat"])
    kinds = _numbers(tree, "decision_type", inner, np.int64)
    chosen = _numbers(tree, "threshold", inner, np.float64)[(kinds & _IS_CATEGORY) != 0]
    if not 0 <= count <= inner or not np.all((chosen >= 0) & (chosen < count)):
        _refuse("has categories of no node")
    if not count:
        return
    ends = _numbers(tree, "cat_boundaries", count + 1, np.int64)
    if ends[0] != 0 or np.any(np.diff(ends) < 0):
        _refuse("has categories of no node")
    _numbers(tree, "cat_threshold", int(ends[-1]), np.int64)


def _check_linear(tree: dict[str, str], leaves: int, features: int) -> None:
    counts = _numbers(tree, "num_features", leaves, np.int64)
    _numbers(tree, "leaf_const", leaves, np.float64)
    if np.any((counts < 0) | (counts > features)):
        _refuse("has a leaf of features that there aren't")
    used = _numbers(tree, "leaf_features", int(counts.sum()), np.int64)
    _numbers(tree, "leaf_coeff", int(counts.sum()), np.float64)
    if np.any((used < 0) | (used >= features)):
        _refuse("asks for a feature that there isn't")


def _numbers(tree: dict[str, str], name: str, count: int, kind: type[Any]) -> Any:
    if not _NUMBERS.fullmatch(tree[name]):
        _refuse(f"has a tree with other things than numbers in {name}")
    numbers = np.array(tree[name].split(), dtype=kind)
    if len(numbers) != count:
        _refuse(f"has a tree with too many or too few of {name}")
    return numbers


def _refuse(why: str) -> NoReturn:
    raise LoadError(f"the LightGBM model is corrupt: it {why}")
