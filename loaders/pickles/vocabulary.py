"""The names one load may use: the allow-list, the guarded stand-ins, and the operator's own.

Resolves exact (module, name) pairs and remembers which object may be made, filled or called, by
identity. Imports a module only after its name has been found on a list. Never calls anything.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np

from loaders.base import LoadError
from loaders.pickles import allowlist, older, reconstruct

_WRAPPER: Final = "joblib.numpy_pickle:NumpyArrayWrapper"
_SEPARATE_FILES: Final = (":NDArrayWrapper", ":ZNDArrayWrapper")
_OWN_CODE: Final = ("cloudpickle.", "dill.")  # to allow one of their names is to allow any code
_TREE: Final = "sklearn.tree._tree:Tree"
_MADE: Final = {  # made by guarded calls, so their own names need not come up in a pickle
    id(np.random.RandomState): "numpy.random.mtrand:RandomState",
    id(np.random.Generator): "numpy.random._generator:Generator",
    id(partial): "functools:partial",
    id(OrderedDict): "collections:OrderedDict",
}


_OWN_WAYS: Final = {  # of frameworks whose pickles hold what their own files say more plainly
    "xgboost": "model.save_model('model.ubj')",
    "lightgbm": "model.booster_.save_model('model.txt')",
    "catboost": "model.save_model('model.cbm')",
}


class ArrayStub:
    """Stands where joblib's array wrapper stood; the array's bytes follow it in the file."""

    shape: Any = None
    dtype: Any = None
    order: Any = "C"
    numpy_array_alignment_bytes: Any = None


def printable(text: str) -> str:
    return text if text.isprintable() and len(text) <= 120 else ascii(text[:120])


class Refused(LoadError):
    """A name that isn't on the allow-list."""


def refused(name: str) -> LoadError:
    """The error for a name that isn't on the allow-list, with the ways out."""
    shown = printable(name)
    if name.endswith(_SEPARATE_FILES):
        return LoadError(
            "the pickle keeps its arrays in files beside it, as joblib before 0.10 did, so it was "
            "not loaded: load it where it was made and save it again with joblib.dump"
        )
    if name.startswith(_OWN_CODE):
        return Refused(
            f"the pickle carries code of its own ('{shown}'), so it was not loaded; save the model "
            "without functions and classes of your own or, if you trust all of the prefix, set "
            "MMS_TRUST=all",
            needs="trust",
        )
    if name.startswith("sklearn.") and not _is_installed(name.partition(":")[0]):
        return LoadError(
            f"the pickle asks for '{shown}', which the scikit-learn installed here doesn't have: "
            "another version made the model; save it again with this one"
        )
    own_way = _OWN_WAYS.get(name.partition(".")[0])
    if own_way is not None:
        return Refused(
            f"the pickle asks for '{shown}', which isn't on the allow-list, so it was not loaded; "
            f"save that model by itself, with {own_way}, or, if you trust all of the prefix, set "
            "MMS_TRUST=all",
            needs="trust",
        )
    return Refused(
        f"the pickle asks for '{shown}', which isn't on the allow-list, so it was not loaded; "
        f"if you trust it, set MMS_ALLOW_GLOBALS={shown}, or MMS_TRUST=all for the whole prefix",
        needs="trust",
    )


def _is_installed(module: str) -> bool:
    """Whether there may be a module of that name, without importing it or what is around it."""
    package, *rest = module.split(".")
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return False
    if not all(part.isidentifier() for part in rest):
        return True  # no module's name: nothing to look for
    place = Path(spec.submodule_search_locations[0], *rest)
    return place.is_dir() or any(place.parent.glob(f"{place.name}.*"))


class Vocabulary:
    """The names one load may use, resolved on demand; remembers which were called what."""

    def __init__(
        self, extra: frozenset[str] = frozenset(), stand_ins: Mapping[str, type] | None = None
    ) -> None:
        self._extra = extra
        self._stand_ins = stand_ins or {}  # name -> a mere holder of what it was filled with
        self._found: dict[tuple[str, str], Any] = {}
        self.classes = dict(_MADE)  # id -> name; the objects live on in their modules
        self.makeable: set[int] = set()
        self.callables: set[int] = set()
        self.natives: list[Any] = []  # objects that must have their state in the end
        self.filled: set[int] = set()  # ids of objects that have their state

    def find(self, module: str, name: str) -> Any:
        """The object of that exact name; raises LoadError for any other."""
        pair = module, name
        found = self._found.get(pair)
        if found is None:
            found = self._found[pair] = self._resolve(allowlist.current_name(module), name)
        return found

    def name_of(self, kind: type) -> str | None:
        """The name under which this load may fill a class, ``None`` if it may not."""
        if kind.__module__ == "sklearn.tree._tree" and kind.__qualname__ == "Tree":
            return _TREE  # made by a guarded call, so its own name doesn't come up
        return self.classes.get(id(kind))

    def _resolve(self, module: str, name: str) -> Any:
        full = f"{module}:{name}"
        if "." in name:
            raise Refused(
                f"the pickle asks for the dotted name '{printable(full)}': refused", needs="trust"
            )
        if full == _WRAPPER:
            return self._admit(ArrayStub, full, "new")
        if full in self._stand_ins:
            return self._admit(self._stand_ins[full], full, "new")
        guarded = reconstruct.GUARDED.get(full) or older.GUARDED.get(full)
        if guarded is not None:
            return self._admit(guarded, full, "call")
        if full in self._extra:
            return self._admit(_imported(module, name), full, "new call")
        kinds = allowlist.KINDS.get(full) or allowlist.OLDER.get(full)
        if kinds is None:
            raise refused(full)
        return self._admit(_imported(module, name), full, kinds)

    def _admit(self, found: Any, full: str, kinds: str) -> Any:
        if "call" in kinds:
            self.callables.add(id(found))
        if isinstance(found, type):
            self.classes[id(found)] = full
            if "new" in kinds:
                self.makeable.add(id(found))
        return found


def _imported(module: str, name: str) -> Any:
    try:
        __import__(module)
        return getattr(sys.modules[module], name)
    except (ImportError, AttributeError) as error:
        if isinstance(error, ModuleNotFoundError) and not module.startswith("sklearn."):
            raise LoadError(
                f"the pickle needs '{module}:{name}', and there is no module "
                f"'{printable(str(error.name))}' here: install what it belongs to, beside the "
                "server or in an environment of MMS_ENVS"
            ) from error
        raise LoadError(
            f"the pickle needs '{module}:{name}', which the installed version doesn't have"
        ) from error
