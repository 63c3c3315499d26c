"""The files of one artifact below one folder: where each may go, how many, and how big.

Every name is checked as text before the disk is touched, and the folder never holds a symbolic
link, so that a checked name can't lead elsewhere. Nothing is executable, nothing is shared.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

from mms.errors import ModelLoadError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from mms.store.limits import Limits

_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DISK_BLOCK = 4096  # what a file or folder takes at least
_NAME_BYTES = 255  # the longest that file systems take


class Room(Protocol):
    """The disk space of one artifact in the making; either method may refuse."""

    def expect(self, total: int) -> None:
        """Say early that ``total`` bytes will be needed: refuse what can never fit."""
        ...

    def need(self, total: int) -> None:
        """Make sure of ``total`` bytes before they are written."""
        ...


class Tree:
    """What has been unpacked so far; ``add_*`` raise ``ModelLoadError`` and may leave a part."""

    def __init__(self, root: Path, limits: Limits, room: Room | None) -> None:
        self._root = root
        self._limits = limits
        self._room = room
        self._folders: set[str] = {""}
        self._links: dict[str, str] = {}  # name -> target, both checked, waiting for their files
        self.files: dict[str, int] = {}
        self._seen = 0  # bytes of all members, also of those left out
        self.bytes = 0
        self.members = 0

    @property
    def disk_bytes(self) -> int:
        """An upper bound of what it takes on the disk."""
        return self.bytes + _DISK_BLOCK * (len(self.files) + len(self._links) + len(self._folders))

    @staticmethod
    def overhead_of(names: Collection[str]) -> int:
        """About what files of these names take on the disk beyond their bytes."""
        folders = {name.rpartition("/")[0] for name in names} | {""}
        return _DISK_BLOCK * (len(names) + len(folders))

    def add_file(self, name: str, size: int, blocks: Iterable[bytes | memoryview]) -> None:
        """Write a file; all of its blocks are taken even if it is one that is left out."""
        path = self._admit(name)
        self._seen += size
        if self._seen > self._limits.unpacked_bytes:
            raise ModelLoadError(
                f"the artifact unpacks to more than {self._limits.unpacked_bytes:,} bytes"
            )
        if path is None:
            written = sum(len(block) for block in blocks)
        else:
            self._new_name(path)
            self.files[path] = 0
            written = self._write(path, size, blocks)
            self.files[path] = written
        if written != size:
            raise ModelLoadError(f"the artifact is truncated in {shown(name)}")

    def add_folder(self, name: str) -> None:
        path = self._admit(name)
        if path:
            if path in self.files or path in self._links:
                raise ModelLoadError(f"the artifact holds {shown(name)} twice")
            self._make_folder(path)

    def add_link(self, name: str, target: str, *, symbolic: bool) -> None:
        """Remember a link; it is made in :meth:`finish`, when every file is there."""
        path = self._admit(name)
        if path is None:
            return
        self._new_name(path)
        base = path.rpartition("/")[0] + "/" if symbolic and "/" in path else ""
        self._links[path] = _inside(base, target, name)

    def finish(self) -> None:
        """Make the links; each must lead to a file of this artifact."""
        waiting: dict[str, list[str]] = {}  # by target: a long chain takes linear time
        for path, target in self._links.items():
            waiting.setdefault(target, []).append(path)
        ready = [target for target in waiting if target in self.files]
        while ready:
            target = ready.pop()
            for path in waiting.pop(target, ()):
                os.link(self._root / target, self._root / path)
                self.files[path] = self.files[target]
                ready.append(path)
        if waiting:
            name = shown(next(path for path in self._links if path not in self.files))
            raise ModelLoadError(f"the artifact's link {name} leads to none of its files")
        self._links = {}

    def _admit(self, name: str) -> str | None:
        """The name to use below the folder; None for what is left out: hidden files, the root."""
        self.members += 1
        if self.members > self._limits.members:
            raise ModelLoadError(f"the artifact has more than {self._limits.members:,} members")
        if len(name) > self._limits.path_bytes:
            raise ModelLoadError(f"the artifact holds an over-long name: {shown(name)}")
        path = _normal(name)
        parts = path.split("/")
        if len(parts) > self._limits.depth:
            raise ModelLoadError(f"the artifact is nested deeper than {self._limits.depth} folders")
        if any(len(part.encode()) > _NAME_BYTES for part in parts):
            raise ModelLoadError(f"the artifact holds an over-long name: {shown(name)}")
        return None if any(part.startswith(".") for part in parts) or not path else path

    def _new_name(self, path: str) -> None:
        if path in self.files or path in self._links or path in self._folders:
            raise ModelLoadError(f"the artifact holds {shown(path)} twice")
        folder = path.rpartition("/")[0]
        if folder:
            self._make_folder(folder)

    def _make_folder(self, path: str) -> None:
        if path in self._folders:
            return
        parent = path.rpartition("/")[0]
        self._make_folder(parent)
        if path in self.files or path in self._links:
            raise ModelLoadError(f"the artifact holds {shown(path)} as a file and as a folder")
        if len(self._folders) > self._limits.members:  # a name brings all that are above it
            raise ModelLoadError(f"the artifact has more than {self._limits.members:,} folders")
        (self._root / path).mkdir(0o700)
        self._folders.add(path)

    def _write(self, path: str, size: int, blocks: Iterable[bytes | memoryview]) -> int:
        if self._room is not None:
            self._room.expect(self.disk_bytes + size)
        written = 0
        fd = os.open(self._root / path, _FILE_FLAGS, 0o600)
        try:
            for block in blocks:
                written += len(block)
                if written > size:
                    break
                self.bytes += len(block)
                if self._room is not None:
                    self._room.need(self.disk_bytes)
                _write_all(fd, block)
        finally:
            os.close(fd)
        return written


def _write_all(fd: int, block: bytes | memoryview) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(fd, view) :]


def shown(name: str) -> str:
    """A name for a message: escaped, and not longer than one likes to read."""
    return repr(name if len(name) <= 80 else name[:80] + "...")


def _normal(name: str) -> str:
    """``name`` without empty and ``.`` parts; refuses every name that isn't plainly below."""
    if name.startswith("/"):
        raise ModelLoadError(f"the artifact leaves its folder: {shown(name)} is absolute")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ModelLoadError(f"the artifact holds a name that isn't UTF-8: {shown(name)}") from None
    if any(ord(char) < 32 or ord(char) == 127 for char in name):
        raise ModelLoadError(f"the artifact holds a name with control characters: {shown(name)}")
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise ModelLoadError(f"the artifact leaves its folder: {shown(name)}")
    return "/".join(parts)


def _inside(base: str, target: str, name: str) -> str:
    """Where a link leads, as a name below the folder; ``base`` is where it starts from.

    Resolved as text, which is exact: there are no symbolic links below the folder.
    """
    if target.startswith("/"):
        raise ModelLoadError(f"the artifact leaves its folder: the link {shown(name)} is absolute")
    parts: list[str] = []
    for part in (base + target).split("/"):
        if part == ".." and not parts:
            raise ModelLoadError(f"the artifact leaves its folder: by the link {shown(name)}")
        if part == "..":
            parts.pop()
        elif part not in {"", "."}:
            parts.append(part)
    return _normal("/".join(parts))
