"""What a skops file may name, and how its native objects are made.

skops reads the schema into a tree of nodes before it makes anything; here every node is looked at
first. Names are those of the pickles' allow-list and skops' own defaults; what writes raw memory is
made by the same guarded functions as an unpickled one. Never makes what isn't known.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from loaders.base import LoadError
from loaders.pickles import allowlist, reconstruct, states
from loaders.pickles.extent import Keys, Walk
from loaders.pickles.unpickle import check_keys
from loaders.pickles.vocabulary import Refused, printable
from loaders.sklearn.skops_zip import check_array, sparse_bytes, unpacked_limit

_MENTIONED: Final = frozenset({"TypeNode", "FunctionNode"})
_MADE: Final = frozenset({
    "ObjectNode",
    "DictNode",
    "DefaultDictNode",
    "ListNode",
    "SetNode",
    "TupleNode",
    "LossNode",
    "NdArrayNode",
    "MaskedArrayNode",
    "SparseMatrixNode",
    "RandomStateNode",
    "RandomGeneratorNode",
    "BytesNode",
    "BytearrayNode",
})  # fmt: skip
_OF_CONTAINERS: Final = {  # not what skops itself calls safe for such a node
    "DictNode": frozenset({"sklearn.utils._bunch:Bunch"}),
    "SparseMatrixNode": frozenset(
        {
            f"scipy.sparse._{kind}:{kind}_{noun}"
            for kind in ("csr", "csc")
            for noun in ("array", "matrix")
        }
    ),
    "TupleNode": frozenset({"sklearn.impute._iterative:_ImputerTriplet"}),
}
_CONTAINERS: Final = frozenset({"DictNode", "DefaultDictNode", "ListNode", "SetNode", "TupleNode"})
_KEYS: Final = frozenset({str, int, float, bool})
_HARMLESS: Final = frozenset({"JsonNode", "SliceNode", "CachedNode", "DTypeNode", "TreeNode"})
_BUILDERS: Final[dict[str, Callable[[Any, Any], None]]] = {
    "sklearn.metrics._dist_metrics": states.build_metric,
    "sklearn.neighbors._kd_tree": states.build_neighbours,
    "sklearn.neighbors._ball_tree": states.build_neighbours,
}


def construct(path: Path, extra: frozenset[str]) -> Any:
    """The object in a skops file whose zip was checked; raises LoadError."""
    from skops.io._audit import get_tree  # the two steps of skops.io.load, to look in between
    from skops.io._utils import read_schema

    with zipfile.ZipFile(path) as archive:
        schema, context = read_schema(archive)
        root = get_tree(schema, context, trusted=None)
    nodes = list(_walk(root, set()))
    refused = sorted({name for name in (_refused(node, extra) for node in nodes) if name})
    if refused:
        raise Refused(_message(refused), needs="trust")
    _check_sparse(nodes, unpacked_limit(path.stat().st_size))
    natives: list[Any] = []
    walk = Walk()
    for node in nodes:
        _guard(node, natives, walk)
    states.check_natives(natives, set(map(id, natives)))
    return root.construct()


def _walk(node: Any, seen: set[int]) -> Iterator[Any]:
    """Every node below and including this one, once, the inner ones first."""
    if id(node) in seen:
        return
    seen.add(id(node))
    for child in _children(node):
        yield from _walk(child, seen)
    yield node


def _children(node: Any) -> Iterator[Any]:
    from skops.io._audit import Node  # it is there: the tree is made of it

    for name, child in node.children.items():
        if type(node).__name__ == "TreeNode" and name == "constructor":
            continue  # known without its name: see _guard
        several = child.values() if isinstance(child, dict) else child
        for one in several if isinstance(child, (dict, list)) else [child]:
            if isinstance(one, Node):
                yield one


def _refused(node: Any, extra: frozenset[str]) -> str | None:
    """The name of what this node would make, if it may not."""
    kind, full = type(node).__name__, f"{node.module_name}:{node.class_name}"
    if "." in str(node.class_name):
        return full
    is_old = type(node).__module__.startswith("skops.io.old.")
    if full in extra or (kind in _HARMLESS and not is_old):
        return None
    known = allowlist.KINDS.get(full, "")
    if kind in _MENTIONED and (known or node.is_self_safe()) and not is_old:
        return None
    is_object = kind == "ObjectNode" and ("new" in known or node.module_name in _BUILDERS)
    is_safe = is_object or node.is_self_safe() or full in _OF_CONTAINERS.get(kind, ())
    return None if kind in _MADE and is_safe and not is_old else full


def _guard(node: Any, natives: list[Any], walk: Walk) -> None:
    """Check what a node holds, and make it here where skops' way isn't safe."""
    kind = type(node).__name__
    if kind == "TreeNode":
        tree = reconstruct.tree(*node.args.construct())
        states.build_tree(tree, node.attrs.construct())
        node._constructed = tree  # noqa: SLF001 - skops makes each node once
    elif kind == "NdArrayNode" and node.type == "numpy":
        check_array(node.buffer)
    elif kind in {"RandomStateNode", "RandomGeneratorNode"}:
        states.check_random(node.construct())
    elif kind == "MaskedArrayNode":
        reconstruct.demand(_holds_arrays(node), "a masked array")
    elif kind == "ObjectNode":
        _guard_object(node, natives)
    elif kind == "SetNode":
        Keys().check([item.construct() for item in node.content], node)
    elif kind == "DictNode":
        Keys().check(_keys(node), node)
    if kind in _CONTAINERS:
        walk.into(node.construct())  # the same one may be in another any number of times


def _holds_arrays(node: Any) -> bool:
    return all(isinstance(part.construct(), np.ndarray) for part in (node.data, node.mask))


def _keys(node: Any) -> list[Any]:
    """A dict's keys, which skops makes by calling their types."""
    kinds = node.key_types.construct()
    for kind in kinds:
        is_plain = isinstance(kind, type) and (kind in _KEYS or issubclass(kind, np.generic))
        reconstruct.demand(is_plain, "a dict")
    return [kind(key) for kind, key in zip(kinds, node.content)]


def _guard_object(node: Any, natives: list[Any]) -> None:
    from skops.io._utils import gettype  # imports a module that is on the list

    cls = gettype(node.module_name, node.class_name)
    state = None if node.attrs is None else node.attrs.construct()
    build = _BUILDERS.get(node.module_name)
    if build is not None:
        native = reconstruct.new_instance(cls)
        build(native, state)
        natives.append(native)
        node._constructed = native  # noqa: SLF001 - the same
    elif state is not None:
        reconstruct.demand(type(state) is dict, f"a {cls.__name__}")
        check_keys(state, cls)


def _check_sparse(nodes: list[Any], limit: int) -> None:
    """Sparse matrices are zips in the zip."""
    total = sum(sparse_bytes(n.content) for n in nodes if type(n).__name__ == "SparseMatrixNode")
    if total > limit:
        raise LoadError("the skops file unpacks to far more than its size, so it is refused")


def _message(refused: list[str]) -> str:
    shown = ", ".join(printable(name) for name in refused[:5])
    more = f" and {len(refused) - 5} more" if len(refused) > 5 else ""
    names = ",".join(printable(name) for name in refused[:5])
    return (
        f"the skops file asks for {shown}{more}, which isn't on the allow-list, so it was not "
        f"loaded; if you trust it, set MMS_ALLOW_GLOBALS={names}, or MMS_TRUST=all for the whole "
        "prefix"
    )
