"""An XGBoost model as a document, read and checked in Python before native code sees it.

XGBoost trusts what it loads: a child outside of its tree, or a class that there isn't, is read or
written beside its arrays. So sizes, children, features and groups are checked here. Anything odd
is a ``LoadError``. Never imports XGBoost.
"""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

import numpy as np

from loaders.base import LoadError
from loaders.boosting import ubjson
from loaders.boosting.trees import MAX_FEATURES, is_tree

OLD_MAGIC: Final = (b"binf", b"bs64")
OLD_FORMAT: Final = (
    "this is XGBoost's old binary format, which XGBoost doesn't read since 3.1: load it with a "
    "version before that and save it anew, with Booster.save_model('model.ubj')"
)
_BLANKS: Final = 64  # at most in front of a JSON document
_MAX_GROUPS: Final = 1 << 20
_PER_NODE: Final = (
    "left_children",
    "right_children",
    "parents",
    "split_indices",
    "split_conditions",
    "default_left",
)


def read_document(data: bytes) -> dict[str, Any]:
    """The model's document, of UBJSON or JSON; raises LoadError."""
    if data[:_BLANKS].lstrip()[:1] != b"{":
        raise LoadError(OLD_FORMAT)
    try:
        document = ubjson.parse(data) if _is_ubjson(data) else _json(data)
    except (ValueError, RecursionError) as error:
        raise LoadError("the XGBoost model is corrupt or cut short") from error
    if not isinstance(document, dict):
        _refuse("is no object")
    return document


def _json(data: bytes) -> Any:
    return json.loads(data, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of which XGBoost reads the same as we: it doesn't undo escapes in names."""
    items = dict(pairs)
    if len(items) != len(pairs):
        raise ValueError("a name twice in one object")
    return items


def model_part(data: bytes, document: dict[str, Any]) -> bytes:
    """The bytes of the model within those of a pickled Booster."""
    if _is_ubjson(data):
        return ubjson.member(data, "Model")
    return json.dumps(document["Model"]).encode()


def _is_ubjson(data: bytes) -> bool:
    return data[:1] == b"{" and data[1:2] in {b"i", b"U", b"I", b"l", b"L"}


def check_document(document: dict[str, Any]) -> None:
    """Check all that native code takes on trust; raises LoadError."""
    try:
        learner = document["learner"]
        params = learner["learner_model_param"]
        features = _size(params["num_feature"], MAX_FEATURES)
        groups = max(
            _size(params["num_class"], _MAX_GROUPS),
            _size(params.get("num_target", 1), _MAX_GROUPS),
            1,
        )
        booster = learner["gradient_booster"]
        _check_booster(booster, features, groups)
        for name in ("feature_names", "feature_types"):
            if len(learner.get(name, ())) not in {0, features}:
                _refuse(f"has {name} for another number of features")
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, IndexError) as error:
        raise LoadError("the XGBoost model is corrupt: it isn't as XGBoost writes it") from error


def _check_booster(booster: dict[str, Any], features: int, groups: int) -> None:
    name = booster["name"]
    if name == "gblinear":
        if len(booster["model"]["weights"]) != (features + 1) * groups:
            _refuse("has too many or too few weights")
        return
    if name == "dart":
        trees = booster["gbtree"]["model"]
        if len(booster["weight_drop"]) != len(trees["trees"]):
            _refuse("has too many or too few weights")
    elif name == "gbtree":
        trees = booster["model"]
    else:
        _refuse("is no kind of booster that is known")
    _check_forest(trees, features, groups)


def _check_forest(model: dict[str, Any], features: int, groups: int) -> None:
    trees, groups_of = model["trees"], np.asarray(model["tree_info"])
    if len(groups_of) != len(trees) or _size(
        model["gbtree_model_param"]["num_trees"], 1 << 31
    ) != len(trees):
        _refuse("announces another number of trees than it has")
    if len(trees) and not (groups_of.min() >= 0 and groups_of.max() < groups):
        _refuse("has a tree for a class that there isn't")
    ends = np.asarray(model.get("iteration_indptr", (0, len(trees))))
    if len(ends) and (ends[0] != 0 or ends[-1] != len(trees) or np.any(np.diff(ends) < 0)):
        _refuse("announces another number of rounds than it has")
    if sorted(tree["id"] for tree in trees) != list(range(len(trees))):
        _refuse("has two trees in one place")
    for tree in trees:
        _check_tree(tree, features, groups)


def _check_tree(tree: dict[str, Any], features: int, groups: int) -> None:
    params = tree["tree_param"]
    count = _size(params["num_nodes"], 1 << 31)
    width = max(_size(params.get("size_leaf_vector", 1), _MAX_GROUPS), 1)
    if not count or width not in {1, groups} or any(len(tree[n]) != count for n in _PER_NODE):
        _refuse("has a tree of another size than it announces")
    if len(tree["base_weights"]) != count * width:
        _refuse("has a tree of another size than it announces")
    left, right = np.asarray(tree["left_children"]), np.asarray(tree["right_children"])
    split = np.asarray(tree["split_indices"])
    is_leaf = left == -1
    # the right child of a leaf is -1, or which of the vectors it gives
    vectors = int(is_leaf.sum()) if width > 1 else 0
    if np.any((right[is_leaf] < -1) | (right[is_leaf] >= vectors)):
        _refuse("has a tree whose nodes lead out of it")
    if not is_tree(left[~is_leaf], right[~is_leaf], count):
        _refuse("has a tree whose nodes lead out of it")
    if np.any((split[~is_leaf] < 0) | (split[~is_leaf] >= features)):
        _refuse("asks for a feature that there isn't")
    if len(tree.get("leaf_weights", ())) not in {0, vectors * width}:
        _refuse("has a tree of another size than it announces")
    _check_categories(tree, count)


def _check_categories(tree: dict[str, Any], count: int) -> None:
    nodes = np.asarray(tree.get("categories_nodes", ()), dtype=np.int64)
    starts = np.asarray(tree.get("categories_segments", ()), dtype=np.int64)
    sizes = np.asarray(tree.get("categories_sizes", ()), dtype=np.int64)
    known = np.asarray(tree.get("categories", ()), dtype=np.int64)
    if not len(nodes) == len(starts) == len(sizes):
        _refuse("has categories of no node")
    is_within = np.all((nodes >= 0) & (nodes < count)) and np.all(np.diff(nodes) > 0)
    ends = starts + sizes
    if not is_within or np.any((starts < 0) | (sizes < 0) | (ends > len(known))):
        _refuse("has categories of no node")
    if np.any((known < 0) | (known >= 1 << 24)):
        _refuse("has a category beyond any")
    kinds = np.asarray(tree.get("split_type", ()))
    if len(kinds) and (
        len(kinds) != count or set(np.flatnonzero(kinds).tolist()) != set(nodes.tolist())
    ):
        _refuse("has categories of no node")


def categories_of(document: dict[str, Any]) -> dict[int, list[Any]]:
    """The categories that the model keeps, by feature."""
    booster = document["learner"]["gradient_booster"]
    cats = booster.get("gbtree", booster).get("model", {}).get("cats", {}).get("enc", ())
    try:
        return {
            i: known for i, enc in enumerate(cats) for known in [_category_values(enc)] if known
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LoadError("the XGBoost model is corrupt: its categories can't be read") from error


def _category_values(enc: dict[str, Any]) -> list[Any]:
    values: list[Any] = np.asarray(enc["values"]).tolist()
    if "offsets" not in enc:
        return values
    text, ends = bytes(v & 0xFF for v in values), np.asarray(enc["offsets"]).tolist()
    return [text[start : ends[i + 1]].decode() for i, start in enumerate(ends[:-1])]


def _size(value: Any, limit: int) -> int:
    size = int(value)
    if not 0 <= size <= limit:
        _refuse("announces a size beyond any")
    return size


def _refuse(why: str) -> NoReturn:
    raise LoadError(f"the XGBoost model is corrupt: it {why}")
