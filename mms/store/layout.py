"""The disk tier's files: what is where below the cache folder, and how it gets there whole.

``lock``, held while a server uses the folder; ``v1/models/ID/`` with ``meta.json`` and ``files/``;
``v1/tmp/``, where entries are made and taken apart. An entry appears and goes by one rename, so a
kill at any instant leaves it whole or not there. Decides nothing: :mod:`mms.store.disk` does.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
import shutil
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mms.errors import ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

log = logging.getLogger("mms.store")

_META = "meta.json"
_FILES = "files"


class CacheInUseError(ValidationError):
    """Another server has this cache folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One version of one artifact on the disk."""

    id: str
    store: str
    target: str
    etag: str
    sha256: str
    bytes: int  # an upper bound of what it takes on the disk
    unpacked_bytes: int
    stored_ns: int  # when; the newest version of a target counts

    @property
    def key(self) -> tuple[str, str]:
        return self.store, self.target


class Layout:
    """The files below ``root``, which it locks; raises ``ValidationError`` where it can't."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._models = root / "v1" / "models"
        self._tmp = root / "v1" / "tmp"
        try:
            for folder in (root, root / "v1", self._models, self._tmp):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                _refuse_foreign(folder)
            self._lock = _lock(root / "lock")
        except OSError as exc:
            raise ValidationError(
                f"the cache folder {root} can't be written ({exc.strerror}): set MMS_CACHE_DIR"
            ) from exc

    def close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def sweep(self) -> None:
        """Remove what a killed server was making or taking apart."""
        for leftover in self._tmp.iterdir():
            shutil.rmtree(leftover, ignore_errors=True)

    def scan(self) -> list[Entry]:
        """Every whole entry, the longest unused first; what isn't one is removed."""
        found: list[tuple[int, Entry]] = []
        with os.scandir(self._models) as folders:
            for folder in folders:
                try:
                    found.append(_read_entry(folder))
                except (OSError, ValueError, TypeError, KeyError) as exc:
                    log.warning(
                        "removed a broken cache entry",
                        extra={"entry": folder.name, "error": type(exc).__name__},
                    )
                    self.remove(folder.name)
        found.sort(key=lambda pair: pair[0])
        return [entry for _, entry in found]

    def new_id(self) -> str:
        """A new entry's id, with an empty folder to unpack into."""
        new = secrets.token_hex(8)
        folder = self._tmp / new
        folder.mkdir(0o700)
        (folder / _FILES).mkdir(0o700)
        return new

    def making(self, new: str) -> Path:
        return self._tmp / new / _FILES

    def files(self, entry: Entry) -> Path:
        return self._models / entry.id / _FILES

    def drop_unfinished(self, new: str) -> None:
        shutil.rmtree(self._tmp / new, ignore_errors=True)

    def publish(self, entry: Entry, files: Mapping[str, int], now_ns: int) -> None:
        """Give what was unpacked its description and its place; afterwards it is an entry."""
        folder = self._tmp / entry.id
        meta = folder / _META
        meta.write_bytes(json.dumps({**asdict(entry), "files": dict(files)}).encode())
        os.utime(meta, ns=(now_ns, now_ns))
        folder.rename(self._models / entry.id)

    def touch(self, entry: Entry, now_ns: int) -> None:
        """Note a use where the next start will find it."""
        os.utime(self._models / entry.id / _META, ns=(now_ns, now_ns))

    def is_whole(self, entry: Entry) -> bool:
        """Whether every file is there in its size: cleaners of ``/tmp`` take files one by one."""
        folder = self._models / entry.id
        try:
            files: dict[str, int] = json.loads((folder / _META).read_bytes())["files"]
            return all(
                (folder / _FILES / name).lstat().st_size == size for name, size in files.items()
            )
        except (OSError, ValueError, KeyError):
            return False

    def remove(self, entry_id: str) -> None:
        """Out of its place at once, then piece by piece."""
        grave = self._tmp / f"{entry_id}-{secrets.token_hex(4)}"
        try:
            (self._models / entry_id).rename(grave)
        except FileNotFoundError:
            return
        if grave.is_dir():
            shutil.rmtree(grave, ignore_errors=True)
        else:
            grave.unlink()

    def is_memory(self) -> bool:
        """Whether the folder is on a file system that lives in memory."""
        device = self.root.stat().st_dev
        wanted = f"{os.major(device)}:{os.minor(device)}"
        return any(kind in {"tmpfs", "ramfs"} for number, kind in _mounts() if number == wanted)


def _read_entry(folder: os.DirEntry[str]) -> tuple[int, Entry]:
    with open(os.path.join(folder.path, _META), "rb") as file:  # noqa: PTH118, PTH123 - 10,000 times
        used = os.fstat(file.fileno()).st_mtime_ns
        meta: dict[str, Any] = json.loads(file.read())
    entry = Entry(**{field.name: meta[field.name] for field in fields(Entry)})
    numbers = (entry.bytes, entry.unpacked_bytes, entry.stored_ns)
    texts = (entry.store, entry.target, entry.etag, entry.sha256)
    if entry.id != folder.name or not isinstance(meta["files"], dict):
        raise ValueError(folder.name)
    if not all(type(n) is int and n >= 0 for n in numbers):
        raise ValueError(folder.name)
    if not all(type(text) is str for text in texts):
        raise ValueError(folder.name)
    return used, entry


def _lock(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise CacheInUseError(
            f"the cache folder {path.parent} is in use by another server: "
            "give this one its own with MMS_CACHE_DIR"
        ) from None
    return fd


def _refuse_foreign(folder: Path) -> None:
    """A folder of somebody else could be filled with models of theirs."""
    owner = folder.lstat().st_uid
    if os.geteuid() not in {owner, 0}:
        raise ValidationError(
            f"the cache folder {folder} belongs to user {owner}: set MMS_CACHE_DIR to one of yours"
        )


def _mounts() -> Iterator[tuple[str, str]]:
    """Device number and file system of every mount."""
    for line in Path("/proc/self/mountinfo").read_text(errors="replace").splitlines():
        before, _, after = line.partition(" - ")
        yield before.split()[2], after.split()[0]
