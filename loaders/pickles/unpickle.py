"""The restricted unpickler: reads joblib and pickle files, runs nothing that came in them.

A pickle is a program. This machine runs it with a closed vocabulary: names come from the allow-list
as exact (module, name) pairs, only listed callables are called, only listed classes are made and
filled, and only lists, dicts and sets are added to. Everything else that a pickle could ask for is
a ``LoadError`` that names it. A mitigation, not a sandbox: native code behind the listed classes
still reads what they are filled with. Never writes to disk, never maps memory.
"""

from __future__ import annotations

import _compat_pickle
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from struct import unpack
from typing import Any, ClassVar, Final

import numpy as np

from loaders.base import LoadError
from loaders.faults import first_line
from loaders.pickles import older, states
from loaders.pickles.reconstruct import item_count, shape_of
from loaders.pickles.source import BROKEN, Source, open_source
from loaders.pickles.vocabulary import ArrayStub, Vocabulary, printable

_READ_BYTES: Final = 1 << 24
_MAX_MARKS: Final = 10_000
_FILLED: Final[dict[str, Callable[[Any, Any], None]]] = {
    "numpy.random.mtrand": states.build_random,
    "numpy.random._generator": states.build_random,
    "numpy.random._mt19937": states.build_random,
    "numpy.random._pcg64": states.build_random,
    "sklearn._loss._loss": older.build_loss,
    "sklearn.metrics._dist_metrics": states.build_metric,
    "functools:partial": states.build_partial,
    "sklearn.tree._tree:Tree": states.build_tree,
    "sklearn.neighbors._kd_tree:KDTree": states.build_neighbours,
    "sklearn.neighbors._ball_tree:BallTree": states.build_neighbours,
}


_Machine: Final[Any] = vars(pickle)["_Unpickler"]  # in Python; the one in C can't be guarded


class RestrictedUnpickler(_Machine):  # type: ignore[misc]
    """``pickle``'s own machine in Python, with the dangerous opcodes guarded."""

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(_Machine.dispatch)

    def __init__(self, source: Source, vocabulary: Vocabulary, built: list[Any]) -> None:
        super().__init__(source)
        self._source = source
        self._vocabulary = vocabulary
        self.built = built  # every object that was filled: checked after the load

    # Names

    def find_class(self, module: str, name: str) -> Any:
        if self.proto < 3:  # Python 2's names for the same things
            module, name = _compat_pickle.NAME_MAPPING.get(
                (module, name), (_compat_pickle.IMPORT_MAPPING.get(module, module), name)
            )
        return self._vocabulary.find(module, name)

    def refuse(self) -> None:
        raise LoadError("the pickle uses an opcode that models don't need: refused")

    def load_persistent(self) -> None:
        raise LoadError("the pickle refers to an object outside of it (persistent id): refused")

    def load_extension(self) -> None:
        raise LoadError("the pickle uses an extension code (EXT) in place of a name: refused")

    # Calls

    def load_reduce(self) -> None:
        args = self.stack.pop()
        function = self.stack[-1]
        if id(function) not in self._vocabulary.callables or type(args) is not tuple:
            raise LoadError(f"the pickle calls {_noun(function)}, which isn't on the list of calls")
        self._source.charge(args, *(tuple(a.values()) for a in args if type(a) is dict))
        self.stack[-1] = self._noted(function(*args))

    def load_newobj(self) -> None:
        args = self.stack.pop()
        self._make(self.stack.pop(), args, {})

    def load_newobj_ex(self) -> None:
        kwargs = self.stack.pop()
        args = self.stack.pop()
        self._make(self.stack.pop(), args, kwargs)

    def _make(self, cls: Any, args: Any, kwargs: Any) -> None:
        if id(cls) not in self._vocabulary.makeable:
            raise LoadError(f"the pickle makes {_noun(cls)}, which isn't on the list of classes")
        if type(args) is not tuple or type(kwargs) is not dict:
            raise LoadError("the pickle is corrupt: a class is made from no arguments")
        self._source.charge(args, kwargs)
        self.append(self._noted(cls.__new__(cls, *args, **kwargs)))

    def _noted(self, made: Any) -> Any:
        if type(made).__module__ in states.NATIVE:
            self._vocabulary.natives.append(made)
        return made

    # Filling

    def load_build(self) -> None:
        state = self.stack.pop()
        self._source.charge(state)
        target = self.stack[-1]
        kind = type(target)
        if kind is ArrayStub:
            vars(target).update(_plain_state(state, kind))
            self.stack[-1] = self._read_array(target)
        elif isinstance(target, np.ndarray):
            states.build_array(target, state)
        elif isinstance(target, np.dtype):
            states.build_dtype(target, state)
        else:
            self.built.append(target)  # also keeps its identity from being given away
            self._fill(target, kind, state)

    def _fill(self, target: Any, kind: type, state: Any) -> None:
        name = self._vocabulary.name_of(kind)
        if name is None:
            raise LoadError(f"the pickle fills {_noun(target)}, which isn't on the list of classes")
        if id(target) in self._vocabulary.filled:  # native code may point into what it held
            raise LoadError(f"the pickle fills {_noun(target)} twice: refused")
        self._vocabulary.filled.add(id(target))
        special = _FILLED.get(name) or _FILLED.get(name.partition(":")[0])
        setter = getattr(
            kind, "__setstate__", None
        )  # of the class: an instance could bring its own
        if special is not None:
            if type(state) is dict:
                self._source.charge(*state.values())
            special(target, state)
        elif setter is not None:
            if isinstance(state, dict):
                check_keys(state, kind)
            elif type(state) is not tuple:  # those are read by native code, item by item
                _plain_state(state, kind)
            setter(target, state)
        else:
            vars(target).update(_plain_state(state, kind))

    def load_append(self) -> None:
        item = self.stack.pop()
        self._container(list).append(item)

    def load_appends(self) -> None:
        items = self.pop_mark()
        self._container(list).extend(items)

    def load_setitem(self) -> None:
        value = self.stack.pop()
        key = self.stack.pop()
        target = self._container(dict)
        self._source.keys.check((key,), target)
        target[key] = value

    def load_setitems(self) -> None:
        items = self.pop_mark()
        if len(items) % 2:
            raise LoadError("the pickle is corrupt: a dict with a key that has no value")
        target = self._container(dict)
        self._source.keys.check(items[::2], target)
        target.update(zip(items[::2], items[1::2]))

    def load_additems(self) -> None:
        items = self.pop_mark()
        target = self._container(set)
        self._source.keys.check(items, target)
        target.update(items)

    def load_dict(self) -> None:
        items = self.pop_mark()
        self._source.keys.check(items[::2], items)
        self.append(dict(zip(items[::2], items[1::2])))

    def load_frozenset(self) -> None:
        items = self.pop_mark()
        self._source.keys.check(items, items)
        self.append(frozenset(items))

    def _container(self, wanted: type[Any]) -> Any:
        target = self.stack[-1]
        if not isinstance(target, wanted):
            raise LoadError(f"the pickle adds items to {_noun(target)}: refused")
        return target

    # Sizes

    def load_mark(self) -> None:
        super().load_mark()
        if len(self.metastack) > _MAX_MARKS:
            raise LoadError("the pickle is nested too deep")

    def load_bytearray8(self) -> None:
        (size,) = unpack("<Q", self.read(8))
        self._source.check(size)  # before it is allocated and zeroed
        data = bytearray(size)
        self.readinto(data)
        self.append(data)

    def _read_array(self, stub: ArrayStub) -> np.ndarray[Any, Any]:
        if not isinstance(stub.dtype, np.dtype) or stub.order not in {"C", "F"}:
            raise LoadError("the pickle is corrupt: an array without dtype or order")
        shape = shape_of(stub.shape)
        if stub.dtype.hasobject:
            inner = RestrictedUnpickler(self._source, self._vocabulary, self.built).load()
            if not isinstance(inner, np.ndarray) or inner.shape != shape:
                raise LoadError("the pickle is corrupt: an array of objects isn't one")
            return inner
        if stub.numpy_array_alignment_bytes is not None:
            self._source.read(self._source.read(1)[0])
        self._source.check(item_count(shape) * max(stub.dtype.itemsize, 1))
        array = np.empty(shape[::-1] if stub.order == "F" else shape, dtype=stub.dtype)
        if array.nbytes:
            view = memoryview(array.reshape(-1).view(np.uint8).data)
            for start in range(0, len(view), _READ_BYTES):
                self._source.readinto(view[start : start + _READ_BYTES])
        if not array.dtype.isnative:
            array = array.byteswap().view(array.dtype.newbyteorder("="))
        return array.transpose() if stub.order == "F" else array


def _plain_state(state: Any, kind: type) -> dict[str, Any]:
    if type(state) is tuple and len(state) == 2 and not state[1]:
        state = state[0]
    if state is None:
        return {}
    if type(state) is not dict:
        raise LoadError(f"the pickle fills a {kind.__name__} with something else than attributes")
    check_keys(state, kind)
    return state


def check_keys(state: dict[Any, Any], kind: type) -> None:
    """Refuse attributes that would stand in for a method of the class."""
    for key in state:
        if type(key) is not str or key.startswith("__") or callable(getattr(kind, key, None)):
            raise LoadError(
                f"the pickle sets '{printable(str(key))}' on a {kind.__name__}: refused"
            )


def _noun(target: object) -> str:
    if isinstance(target, type) or callable(target):
        name = getattr(target, "__qualname__", type(target).__name__)
        return f"'{printable(str(getattr(target, '__module__', '?')))}:{printable(str(name))}'"
    return f"a {type(target).__name__}"


def _guard(method: Callable[[Any], None], *opcodes: bytes) -> None:
    for opcode in opcodes:
        RestrictedUnpickler.dispatch[opcode[0]] = method


_M = RestrictedUnpickler
_guard(_M.refuse, pickle.INST, pickle.OBJ, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER)
_guard(_M.load_persistent, pickle.PERSID, pickle.BINPERSID)
_guard(_M.load_extension, pickle.EXT1, pickle.EXT2, pickle.EXT4)
_guard(_M.load_reduce, pickle.REDUCE)
_guard(_M.load_newobj, pickle.NEWOBJ)
_guard(_M.load_newobj_ex, pickle.NEWOBJ_EX)
_guard(_M.load_build, pickle.BUILD)
_guard(_M.load_append, pickle.APPEND)
_guard(_M.load_appends, pickle.APPENDS)
_guard(_M.load_setitem, pickle.SETITEM)
_guard(_M.load_setitems, pickle.SETITEMS)
_guard(_M.load_additems, pickle.ADDITEMS)
_guard(_M.load_dict, pickle.DICT)
_guard(_M.load_frozenset, pickle.FROZENSET)
_guard(_M.load_bytearray8, pickle.BYTEARRAY8)
_guard(_M.load_mark, pickle.MARK)


def load_restricted(
    path: Path,
    extra: frozenset[str] = frozenset(),
    stand_ins: Mapping[str, type] | None = None,
) -> tuple[Any, list[Any]]:
    """The pickle's object, and every object in it that was filled; raises LoadError, MemoryError.

    ``extra`` holds further exact names, ``"pkg.mod:Name"``, that may be made, filled and called;
    ``stand_ins`` says what is made in place of a class, to hold its attributes.
    """
    built: list[Any] = []
    try:
        with open_source(path) as source:
            vocabulary = Vocabulary(extra, stand_ins)
            made = RestrictedUnpickler(source, vocabulary, built).load()
            states.check_natives(vocabulary.natives, vocabulary.filled)
            return made, built
    except (LoadError, MemoryError):
        raise
    except BROKEN as error:
        raise LoadError("the model file is corrupt or cut short") from error
    except Exception as error:
        raise LoadError(f"the model file can't be unpickled: {first_line(error)}") from error
