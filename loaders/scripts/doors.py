"""Doors: what the one public table of modules holds for names that models' own code uses.

Python looks some names up in ``sys.modules`` and nowhere else: what a pickle names, what
``importlib.import_module`` is asked for, ``__main__``. Two models may mean different modules by
one name, so what stands there is a door: it leads to the module of that name of whoever asks, by
the innermost code of a model on the caller's stack, else by what the thread is at. It never leads
into the code of another model, and never stands in the way of an installed module.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, Final, Protocol

MARK: Final = "__mms_code__"  # in the globals of each module of a model
_AT = threading.local()


class Code(Protocol):
    """A model's own code, as a door sees it."""

    def module(self, name: str) -> ModuleType | None:
        """Its module of that public name, imported if need be; ``None`` if it has none."""
        ...


@contextmanager
def at_work_for(code: Code) -> Iterator[None]:
    """What this thread does meanwhile, it does for a model with this code."""
    before = getattr(_AT, "code", None)
    _AT.code = code
    try:
        yield
    finally:
        _AT.code = before


def _asking() -> Code | None:
    """The code on whose behalf this is called."""
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001 - there is no other way to the caller
    while frame is not None:
        code: Code | None = frame.f_globals.get(MARK)
        if code is not None:
            return code
        frame = frame.f_back
    return getattr(_AT, "code", None)


class Door(ModuleType):
    """Stands for ``name`` in ``sys.modules``; ``outside`` is what there is for everybody else."""

    def __init__(self, name: str, outside: ModuleType | None = None) -> None:
        super().__init__(name)
        vars(self)["_outside"] = outside
        vars(self)["__spec__"] = outside.__spec__ if outside else ModuleSpec(name, None)

    def __getattr__(self, name: str) -> Any:
        code = _asking()
        module = code.module(self.__name__) if code else None
        outside: ModuleType | None = vars(self)["_outside"]
        if module is not None and (outside is None or hasattr(module, name)):
            return getattr(module, name)
        if outside is not None:
            return getattr(outside, name)
        raise AttributeError(f"there is no module {self.__name__!r} here, so no {name!r} of it")

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(_behind(self, _asking()), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_behind(self, _asking()), name)


def _behind(door: Door, code: Code | None) -> ModuleType:
    module = code.module(door.__name__) if code else None
    found: ModuleType | None = module or vars(door)["_outside"]
    if found is None:
        raise AttributeError(f"there is no module {door.__name__!r} here")
    return found


_PLACING = threading.RLock()  # again in the same thread where a model is freed meanwhile
_USERS: Final[Counter[str]] = Counter()  # how many need a door


def place(names: Iterator[str]) -> list[str]:
    """Doors for names of modules, where nothing that is installed has them; returns which.

    Each stands until it is taken away as often as it was placed.
    """
    placed = []
    with _PLACING:
        if not isinstance(sys.modules["__main__"], Door):
            sys.modules["__main__"] = Door("__main__", sys.modules["__main__"])
        taken: dict[str, bool] = {}
        for name in names:
            root = name.partition(".")[0]
            if root not in taken:
                taken[root] = is_installed(root)
            if taken[root]:
                continue
            _USERS[name] += 1
            sys.modules.setdefault(name, Door(name))
            placed.append(name)
    return placed


def take_away(names: Iterable[str]) -> None:
    """Who had them placed needs them no more."""
    with _PLACING:
        for name in names:
            _USERS[name] -= 1
            if not _USERS[name]:
                del _USERS[name]
                if isinstance(sys.modules.get(name), Door):
                    del sys.modules[name]


def is_installed(root: str) -> bool:
    """Whether everybody can import a top-level module of that name."""
    known = sys.modules.get(root)
    if known is not None:
        return not isinstance(known, Door)
    return is_standard(root) or PathFinder.find_spec(root) is not None


def is_standard(root: str) -> bool:
    """Whether it is the standard library's."""
    names: frozenset[str] | None = getattr(sys, "stdlib_module_names", None)
    if names is not None:
        return root in names
    if root in sys.builtin_module_names:
        return True
    folder = str(Path(threading.__file__).parent)  # a Python that can't list its own
    return PathFinder.find_spec(root, [folder, f"{folder}/lib-dynload"]) is not None
