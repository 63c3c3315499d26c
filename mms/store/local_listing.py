"""A folder on this machine listed as a bucket would be: flat, by keys, in the order of code points.

Names each file once: links to folders aren't followed below the one that is asked for, links to
files only where they lead to one below the root. Opens nothing.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mms.errors import StoreUnavailable
from mms.store.base import Listed

if TYPE_CHECKING:
    from collections.abc import Iterator


def etag_of(found: os.stat_result) -> str:
    """A file's version: of its time, size and inode."""
    text = f"{found.st_mtime_ns}:{found.st_size}:{found.st_ino}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def walk(root: Path, prefix: str, after: str, deadline: float) -> Iterator[Listed]:
    """The files below ``root`` whose keys begin with ``prefix`` and come after ``after``.

    Raises OSError for what can't be read; what isn't there is just not listed.
    """
    base = prefix[: prefix.rfind("/") + 1]
    inside = root.resolve()
    if any(part in {"", ".", ".."} for part in base.split("/")[:-1]):
        return
    if not (root / base).resolve().is_relative_to(inside):
        return
    waiting = [base]  # the next one at the end
    while waiting:
        key = waiting.pop()
        if not key or key.endswith("/"):
            if time.monotonic() >= deadline:
                raise StoreUnavailable("the model folder is too slow: the time is over")
            waiting += sorted(_children(root, key, prefix, after), reverse=True)
        elif (listed := _listed(root, key, inside)) is not None:
            yield listed


def _children(root: Path, folder: str, prefix: str, after: str) -> Iterator[str]:
    """The keys in a folder that are wanted, or may lead to some; folders with a slash."""
    try:
        entries = os.scandir(f"{root}/{folder}")
    except (FileNotFoundError, NotADirectoryError):
        return
    with entries:
        for entry in entries:
            if not _is_text(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                key = f"{folder}{entry.name}/"
                is_wanted = prefix.startswith(key) or key.startswith(prefix)
                is_ahead = key > after or after.startswith(key)
            else:
                key = folder + entry.name
                is_wanted, is_ahead = key.startswith(prefix), key > after
            if is_wanted and is_ahead:
                yield key


def _is_text(name: str) -> bool:
    """Whether a name is UTF-8; by another one nobody can ask for it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _listed(root: Path, key: str, inside: Path) -> Listed | None:
    """None for what is no file, is gone, or is a link that leads out."""
    path = root / key
    try:
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode):
            if not path.resolve().is_relative_to(inside):
                return None
            found = path.stat()
    except (FileNotFoundError, RuntimeError):
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    modified = datetime.fromtimestamp(found.st_mtime, UTC)
    return Listed(key=key, etag=etag_of(found), size=found.st_size, modified=modified)
