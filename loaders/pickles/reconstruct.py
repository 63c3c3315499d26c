"""Guarded stand-ins for the functions with which pickles rebuild arrays and trees.

The real ones trust their arguments down to raw memory: a dtype whose flags deny its object fields
turns bytes into pointers, a tree built with one output too many reads past an array. Each stand-in
checks its arguments and then does exactly what the real one does. ``GUARDED`` is what the unpickler
hands out for their names. Never calls anything that came out of a pickle but a type's ``__new__``.
"""

from __future__ import annotations

import copyreg
import math
import re
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np

from loaders.base import LoadError
from loaders.pickles.extent import Keys

_DTYPE = re.compile(r"[?biufcmMOSUV]\d{0,9}|bool|object|(u?int|float|complex)\d{1,3}")
_MAX_COLUMNS: Final = 1 << 20
_WITH_NEW_OBJ: Final = frozenset({
    "sklearn.metrics._dist_metrics",
    "sklearn.neighbors._ball_tree",
    "sklearn.neighbors._kd_tree",
})  # fmt: skip
_PLAIN_BASES = (object, dict, list, tuple, set, frozenset, int, float, str, bytes)


def demand(ok: object, what: str) -> None:
    """Refuse a pickle that rebuilds ``what`` in a way no library writes."""
    if not ok:
        raise LoadError(f"the pickle rebuilds {what} in a way that no library writes")


def dtype(spec: object, align: object = False, copy: object = True) -> np.dtype[Any]:
    """``numpy.dtype`` of a plain name; fields come with the state."""
    del align, copy
    demand(type(spec) is str and _DTYPE.fullmatch(spec), "a dtype")
    return np.dtype(spec, copy=True)  # type: ignore[call-overload, no-any-return]


def empty_array(subtype: object, shape: object, typecode: object) -> np.ndarray[Any, Any]:
    """``numpy._core.multiarray._reconstruct``: an empty array, filled by BUILD."""
    demand(subtype is np.ndarray and shape == (0,) and typecode in {b"b", "b"}, "an array")
    return np.empty((0,), dtype=np.int8)


def masked_array(subtype: Any, base: object, shape: object, typecode: object) -> Any:
    """``numpy.ma.core._mareconstruct``."""
    demand(subtype is np.ma.MaskedArray and base is np.ndarray, "a masked array")
    demand(shape == (0,) and typecode in {b"b", "b"}, "a masked array")
    return np.ma.MaskedArray(np.empty((0,), dtype=np.int8))


def scalar(kind: object, data: object = None) -> Any:
    """``numpy._core.multiarray.scalar`` of a type without objects."""
    demand(isinstance(kind, np.dtype) and not kind.hasobject, "a NumPy scalar")
    assert isinstance(kind, np.dtype)
    demand(isinstance(data, bytes) and len(data) == kind.itemsize > 0, "a NumPy scalar")
    return np.frombuffer(data, dtype=kind)[0]  # type: ignore[call-overload]


def from_buffer(
    data: Any, kind: object, shape: object, order: object, axes: object = None
) -> np.ndarray[Any, Any]:
    """``numpy._core.numeric._frombuffer``: protocol 5's arrays."""
    demand(isinstance(data, (bytes, bytearray)), "an array")
    demand(isinstance(kind, np.dtype) and not kind.hasobject, "an array")
    assert isinstance(kind, np.dtype)
    sizes = shape_of(shape)
    if order == "K" and axes is not None:
        demand(type(axes) is tuple and sorted(axes) == list(range(len(sizes))), "an array")
        flat = np.frombuffer(data, dtype=kind).reshape(sizes)
        assert isinstance(axes, tuple)
        return flat.transpose(*axes)
    demand(order in {"C", "F"}, "an array")
    return np.frombuffer(data, dtype=kind).reshape(sizes, order="C" if order == "C" else "F")


def shape_of(shape: object) -> tuple[int, ...]:
    """``shape`` if it is one."""
    demand(type(shape) is tuple and len(shape) <= 32, "an array")
    assert isinstance(shape, tuple)
    demand(all(isinstance(n, (int, np.integer)) and n >= 0 for n in shape), "an array")
    return tuple(int(n) for n in shape)


def latin1(text: object, encoding: object = "latin1") -> bytes:
    """``_codecs.encode``: how protocols 0 to 2 write bytes, and nothing else."""
    demand(type(text) is str and encoding in {"latin1", "latin-1"}, "bytes")
    assert isinstance(text, str)
    return text.encode("latin-1")


def plain_set(items: Any = ()) -> set[Any]:
    """``set`` of what stands in the pickle; a range would grow to any size."""
    return set(_items(items))


def plain_frozenset(items: Any = ()) -> frozenset[Any]:
    return frozenset(_items(items))


def _items(items: Any) -> Any:
    demand(type(items) in _PLAIN_BASES, "a set")
    if type(items) in {list, tuple}:
        Keys().check(items, items)
    return items


def ordered_dict(pairs: Any = ()) -> OrderedDict[Any, Any]:
    """``collections.OrderedDict``: empty, or, from Python 2, of a list of pairs."""
    return OrderedDict(_pairs(pairs))


def default_dict(factory: Any = None, pairs: Any = ()) -> defaultdict[Any, Any]:
    return defaultdict(factory, _pairs(pairs))


def _pairs(pairs: Any) -> Any:
    """What a dict may be made of: a dict, or a list of pairs whose keys are looked at."""
    demand(type(pairs) in {list, dict, tuple}, "a table")
    if type(pairs) is not dict:
        demand(all(type(p) in {list, tuple} and len(p) == 2 for p in pairs), "a table")
        Keys().check([p[0] for p in pairs], pairs)
    return pairs


def empty_bytes() -> bytes:
    """``bytes()``: how protocol 2 writes ``b""``; ``bytes(n)`` would be a bomb."""
    return b""


def plain_bytearray(data: object = b"") -> bytearray:
    """``bytearray`` of bytes; ``bytearray(n)`` would be a bomb."""
    demand(type(data) is bytes, "bytes")
    assert isinstance(data, bytes)
    return bytearray(data)


def plain_object(cls: Any, base: Any, state: Any) -> Any:
    """``copyreg._reconstructor``: protocols 0 and 1, of objects that extend nothing native."""
    demand(isinstance(cls, type) and base in _PLAIN_BASES and issubclass(cls, base), "an object")
    demand(state is None or type(state) in _PLAIN_BASES, "an object")
    if base in {set, frozenset} and state is not None:
        _items(state)
    elif base is dict and state is not None:
        _pairs(state)
    return copyreg._reconstructor(cls, base, state)  # type: ignore[attr-defined]  # noqa: SLF001


def new_instance(cls: Any) -> Any:
    """The ``newObj`` of scikit-learn's native classes."""
    demand(isinstance(cls, type) and cls.__module__ in _WITH_NEW_OBJ, "an object")
    return cls.__new__(cls)


def tree(n_features: object, n_classes: object, n_outputs: object) -> Any:
    """``sklearn.tree._tree.Tree``, whose constructor reads ``n_classes`` unchecked."""
    from sklearn.tree._tree import Tree  # imported when the first tree comes

    demand(isinstance(n_features, int) and 0 < n_features < 2**31, "a tree")
    demand(isinstance(n_outputs, int) and 0 < n_outputs < 2**20, "a tree")
    demand(type(n_classes) is np.ndarray and n_classes.shape == (n_outputs,), "a tree")
    assert isinstance(n_classes, np.ndarray)
    demand(
        n_classes.dtype.kind in "iu" and 1 <= n_classes.min() <= n_classes.max() < 2**24, "a tree"
    )
    return Tree(n_features, n_classes, n_outputs)


def untrainable(*_args: object, **_kwargs: object) -> None:
    """What training keeps of its own native code, and no prediction calls."""
    raise LoadError("the model calls a function of k-means that only training may call")


# Known as what it stands for, where models are looked through.
untrainable.__module__, untrainable.__qualname__ = "sklearn.cluster._kmeans", "_kmeans_single_lloyd"


def bit_generator(kind: Any = "MT19937") -> Any:
    """``numpy.random._pickle.__bit_generator_ctor``."""
    from numpy.random._pickle import BitGenerators

    name = kind if type(kind) is str else ""
    cls: Any = kind if isinstance(kind, type) else BitGenerators.get(name)
    demand(cls in BitGenerators.values(), "a random generator")
    return cls()


def _bits(source: object) -> Any:
    is_made = isinstance(source, np.random.BitGenerator)
    return source if is_made else bit_generator(source)


def random_state(source: object = "MT19937", _ctor: object = None) -> np.random.RandomState:
    return np.random.RandomState(_bits(source))


def generator(source: object = "MT19937", _ctor: object = None) -> np.random.Generator:
    return np.random.Generator(_bits(source))


def pandas_index(cls: Any, state: Any) -> Any:
    """``pandas.core.indexes.base._new_Index``: columns chosen by ``frame.columns``."""
    import pandas as pd  # only pickles with an Index need it

    demand(type(state) is dict, "an index")
    name = state.get("name")
    demand(name is None or type(name) is str, "an index")
    if cls is pd.RangeIndex:
        parts = [state.get(k) for k in ("start", "stop", "step")]
        demand(all(type(p) is int for p in parts), "an index")
        start, stop, step = parts
        demand(step and len(range(start, stop, step)) <= _MAX_COLUMNS, "an index")
        return pd.RangeIndex(start, stop, step, name=name)
    demand(cls is pd.Index, "an index")
    data = state.get("data")
    demand(isinstance(data, (np.ndarray, pd.arrays.StringArray)) and data.ndim == 1, "an index")
    return pd.Index(data, name=name)


def partial_check(function: Any) -> Any:
    """``functools.partial`` of ``check_array``: what histogram boosting keeps of its categories."""
    from sklearn.utils.validation import check_array  # there already, if a pickle names it

    demand(function is check_array, "a partial function")
    return partial(check_array)


GUARDED: Final[dict[str, Callable[..., Any]]] = {
    "numpy:dtype": dtype,
    "numpy._core.multiarray:_reconstruct": empty_array,
    "numpy._core.multiarray:scalar": scalar,
    "numpy._core.numeric:_frombuffer": from_buffer,
    "numpy.ma.core:_mareconstruct": masked_array,
    "numpy.random._pickle:__bit_generator_ctor": bit_generator,
    "numpy.random._pickle:__randomstate_ctor": random_state,
    "numpy.random._pickle:__generator_ctor": generator,
    "_codecs:encode": latin1,
    "builtins:bytes": empty_bytes,
    "collections:OrderedDict": ordered_dict,
    "collections:defaultdict": default_dict,
    "builtins:bytearray": plain_bytearray,
    "builtins:set": plain_set,
    "builtins:frozenset": plain_frozenset,
    "sklearn.cluster._kmeans:_kmeans_single_lloyd": untrainable,
    "functools:partial": partial_check,
    "copyreg:_reconstructor": plain_object,
    "pandas.core.indexes.base:_new_Index": pandas_index,
    "sklearn.metrics._dist_metrics:newObj": new_instance,
    "sklearn.neighbors._kd_tree:newObj": new_instance,
    "sklearn.neighbors._ball_tree:newObj": new_instance,
    "sklearn.tree._tree:Tree": tree,
}


def item_count(shape: tuple[int, ...]) -> int:
    return math.prod(shape)
