"""A model's own Python code: modules that are its alone, whatever other models call theirs.

Its files are imported under private names (``mms_code_7.helper``). An ``import helper`` in them
finds its own ``helper`` first, early or late and in any thread, since each of its modules has an
``__import__`` of its own. Own files win over what is installed, but never over the standard
library; nobody else ever sees them, ``sys.path`` stays as it is, and nothing is written. All its
sources are read at once: the folder may be gone when a late import comes.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib
import itertools
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    ExtensionFileLoader,
    ModuleSpec,
    SourceFileLoader,
)
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Final, NamedTuple

from loaders.base import LoadError
from loaders.scripts import doors, toolkit

PREFIX: Final = "mms_code_"
MAX_SOURCE_BYTES: Final = 32 << 20
PRIVATE: Final = re.compile(rf"\b{PREFIX}\d+\.")
_CODES: dict[str, ModelCode] = {}
_SHARED: list[str] = []  # folders that scripts put on sys.path, of code that models share
_NUMBERS = itertools.count(1)
_INSTALLING = threading.Lock()


class _File(NamedTuple):
    """A module of the code; ``source`` is ``None`` for a compiled one and a bare folder."""

    path: Path
    source: bytes | None
    is_package: bool

    @property
    def is_bare_folder(self) -> bool:
        return self.is_package and self.source is None


class ModelCode:
    """The modules of one model. ``folder`` is its ``code/``, ``artifact`` all that is its."""

    def __init__(self, folder: Path, artifact: Path) -> None:
        self.name = f"{PREFIX}{next(_NUMBERS)}"
        self._folders = tuple(f"{path.resolve()}/" for path in (artifact, folder))
        self._shared = 0  # of _SHARED, as many as have been looked at
        self._files: dict[str, _File] = {}
        self._roots: set[str] = set()
        self._doors: list[str] = []
        self._outside: set[str] = set()  # of sys.path, known to be none of ours
        self._builtins = {**vars(builtins), "__import__": self._import}
        self._entry = ""
        base = ModuleType(self.name)
        base.__path__ = []
        base.__spec__ = ModuleSpec(self.name, None, is_package=True)
        sys.modules[self.name] = base
        _CODES[self.name] = self
        _install_finder()
        try:
            self.add_root(folder)
            self.add_root(folder / "lib")  # where SageMaker's SDK puts what a script depends on
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Forget the modules, and all that their globals hold."""
        _CODES.pop(self.name, None)
        for name in list(sys.modules):
            if name == self.name or name.startswith(f"{self.name}."):
                module = sys.modules.pop(name)
                vars(module).clear()
        names, self._doors = self._doors, []
        doors.take_away(names)
        for path in list(sys.path_importer_cache):  # Python's own, of folders it has looked into
            if f"{path}/".startswith(self._folders):
                sys.path_importer_cache.pop(path, None)

    def add_root(self, folder: Path) -> None:
        """A folder whose files can be imported by their names; earlier ones win."""
        found = dict(_scan(folder))
        for name, file in found.items():
            self._files.setdefault(name, file)
        for root in {name.partition(".")[0] for name in found}:
            bare = self._files[root].is_bare_folder
            if not (doors.is_standard(root) or (bare and doors.is_installed(root))):
                self._roots.add(root)
        self._doors += doors.place(n for n in found if n.partition(".")[0] in self._roots)

    def import_entry(self, program: str) -> ModuleType:
        """Import the script, a path in ``code/``; raises whatever it does."""
        self._entry = program[: -len(".py")].replace("/", ".")
        if self._entry not in self._files:
            raise LoadError(f"code/{program} can't be imported: its name is no module's")
        return importlib.import_module(f"{self.name}.{self._entry}")

    def module(self, name: str) -> ModuleType | None:
        """The module that this code means by ``name``."""
        if name == "__main__":
            return sys.modules.get(f"{self.name}.{self._entry}")
        if name.partition(".")[0] not in self._roots or name not in self._files:
            return None
        return importlib.import_module(f"{self.name}.{name}")

    def spec_of(self, name: str) -> ModuleSpec | None:
        file = self._files.get(name)
        if file is None:
            return None
        private = f"{self.name}.{name}"
        folder = [str(file.path.parent if file.source is not None else file.path)]
        if file.is_bare_folder:
            spec = ModuleSpec(private, None, is_package=True)
            spec.submodule_search_locations = folder
            return spec
        loader = (
            ExtensionFileLoader(private, str(file.path))
            if file.source is None
            else _Source(private, str(file.path), file.source, self.globals)
        )
        return spec_from_file_location(
            private,
            file.path,
            loader=loader,
            submodule_search_locations=folder if file.is_package else None,
        )

    @property
    def globals(self) -> dict[str, Any]:
        """What each module begins with."""
        return {"__builtins__": self._builtins, doors.MARK: self}

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002 - Python calls it with these names
        locals: Mapping[str, Any] | None = None,  # noqa: A002 - the same
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """``__import__`` as the modules of this code have it."""
        if level:  # relative: to a name that is private already
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        self.adopt_paths()
        root = name.partition(".")[0]
        main = self.module(name) if name == "__main__" else None
        if main is not None:
            return main
        if root in self._roots:
            private = f"{self.name}.{name}"
            if fromlist:
                return builtins.__import__(private, globals, locals, fromlist)
            importlib.import_module(private)
            return sys.modules[f"{self.name}.{root}"]
        if root != "__main__" and isinstance(sys.modules.get(root), doors.Door):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        if root in toolkit.ROOTS:
            toolkit.provide(root)
        return builtins.__import__(name, globals, locals, fromlist or ())

    def adopt_paths(self) -> None:
        """A folder of the artifact that the script has put on ``sys.path`` is its own affair.

        Of code that models share it is the affair of all of them: another one's thread may be the
        first to see it here.
        """
        for entry in [e for e in sys.path if e not in self._outside]:
            real = os.path.realpath(entry)
            if not f"{real}/".startswith(self._folders):
                self._outside.add(entry)
                continue
            if not f"{real}/".startswith(self._folders[0]) and real not in _SHARED:
                _SHARED.append(real)
            self.add_root(Path(real))
            with contextlib.suppress(ValueError):  # another thread has
                sys.path.remove(entry)
        while self._shared < len(_SHARED):
            real = _SHARED[self._shared]
            self._shared += 1
            if f"{real}/".startswith(self._folders[1]):
                self.add_root(Path(real))


class _Source(SourceFileLoader):
    """Runs a source that was read before; neither reads nor writes compiled files."""

    def __init__(self, name: str, path: str, source: bytes, begin: dict[str, Any]) -> None:
        super().__init__(name, path)
        self._source = source
        self._begin = begin

    def get_data(self, path: Any) -> bytes:
        return self._source if path == self.path else super().get_data(path)

    def get_code(self, fullname: str) -> CodeType:
        del fullname
        code: CodeType = compile(self._source, self.path, "exec", dont_inherit=True)
        return code

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update(self._begin)
        super().exec_module(module)


class _Finder(MetaPathFinder):
    """Knows the private names, and no others."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        if not fullname.startswith(PREFIX):
            return None
        root, _, name = fullname.partition(".")
        code = _CODES.get(root)
        return code.spec_of(name) if code is not None and name else None


def _install_finder() -> None:
    with _INSTALLING:
        if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
            sys.meta_path.insert(0, _Finder())


def public(text: str) -> str:
    """A text without the private names in it."""
    return PRIVATE.sub("", text)


# --- What is in a folder ---


def _scan(folder: Path) -> Iterator[tuple[str, _File]]:
    """Modules by their dotted names, as Python's own finder would rank them."""
    found: dict[str, tuple[int, _File]] = {}
    total = 0
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(d for d in folders if d.isidentifier() and d != "__pycache__")
        here = Path(where)
        package = ".".join(here.relative_to(folder).parts)
        for file in sorted(names):
            stem, rank = _ranked(file)
            if rank is None or not (here / file).is_file() or not f"{stem}_".isidentifier():
                continue
            made = _read(here, file, rank)
            total += len(made.source or b"")
            if total > MAX_SOURCE_BYTES:
                raise LoadError(f"code/ holds more than {MAX_SOURCE_BYTES >> 20} MiB of Python")
            name = ".".join(filter(None, (package, stem)))
            if name and (name not in found or rank < found[name][0]):
                found[name] = rank, made
            _note_parents(found, here, package)
    for name, (_, made) in found.items():
        yield name, made


def _ranked(file: str) -> tuple[str, int | None]:
    """The name of the module that a file is, and its rank among those of one name."""
    if file == "__init__.py":
        return "", 0
    for suffix in EXTENSION_SUFFIXES:
        if file.endswith(suffix):
            return file[: -len(suffix)], 1
    return (file[: -len(".py")], 2) if file.endswith(".py") else (file, None)


def _read(here: Path, file: str, rank: int) -> _File:
    path = here / file
    return _File(path, None if rank == 1 else path.read_bytes(), is_package=rank == 0)


def _note_parents(found: dict[str, tuple[int, _File]], here: Path, package: str) -> None:
    """Folders that hold modules are packages, the weakest kind."""
    while package:
        found.setdefault(package, (3, _File(here, None, is_package=True)))
        package, here = package.rpartition(".")[0], here.parent
