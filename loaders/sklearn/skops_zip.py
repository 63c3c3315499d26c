"""The bounds of a skops file, looked at before anything in it is read.

How many members, how large unpacked, how often the schema refers to them, and that the arrays in
it are as large as they say. Pure but for reading; knows no skops.
"""

from __future__ import annotations

import io
import json
import lzma
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from loaders.base import LoadError
from loaders.pickles.source import FREE_BYTES, MAX_BYTES, MAX_RATIO

SCHEMA: Final = "schema.json"
MAX_MEMBERS: Final = 100_000
MAX_SCHEMA_BYTES: Final = 256 << 20
BROKEN: Final = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(EOFError, OSError, RuntimeError),
)
"""What reading a broken zip raises; RuntimeError where a member is encrypted."""
_BOMB: Final = "the skops file unpacks to far more than its size, so it is refused"


def check_zip(path: Path) -> None:
    """Check the whole file; raises LoadError."""
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = _sizes(archive, path.stat().st_size)
            if SCHEMA not in sizes:
                raise LoadError(f"the zip archive is no skops file: it holds no {SCHEMA}")
            if sizes[SCHEMA] > MAX_SCHEMA_BYTES:
                raise LoadError(_BOMB)
            referred = _referred(json.loads(archive.read(SCHEMA)), sizes)
        if referred > unpacked_limit(path.stat().st_size):
            raise LoadError(_BOMB)
    except (ValueError, RecursionError) as error:
        raise LoadError(f"the skops file is corrupt: its {SCHEMA} isn't valid JSON") from error
    except BROKEN as error:
        raise LoadError("the skops file is corrupt or cut short") from error


def unpacked_limit(size: int) -> int:
    """How much may come out of a file of that size."""
    return min(max(size * MAX_RATIO, FREE_BYTES), MAX_BYTES)


def _sizes(archive: zipfile.ZipFile, size: int) -> dict[str, int]:
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise LoadError(f"the skops file has more than {MAX_MEMBERS} members")
    if sum(member.file_size for member in members) > unpacked_limit(size):
        raise LoadError(_BOMB)
    return {member.filename: member.file_size for member in members}


def _referred(schema: Any, sizes: dict[str, int]) -> int:
    """How many bytes all members have that the schema names, each time that it does."""
    total, waiting = 0, [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            name = part.get("file")
            total += sizes.get(name, 0) if isinstance(name, str) else 0
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
    return total


def check_array(buffer: io.BytesIO) -> None:
    """Whether a ``.npy`` is as large as its header says: NumPy would make room first."""
    _check_array(buffer, len(buffer.getbuffer()))
    buffer.seek(0)


def _check_array(file: IO[bytes], size: int) -> None:
    try:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
    except ValueError as error:
        raise LoadError("the skops file is corrupt: an array in it isn't one") from error
    count = 1
    for length in shape:
        count *= length
    if dtype.hasobject or min(shape, default=0) < 0 or count * dtype.itemsize != size - file.tell():
        raise LoadError("the skops file is corrupt: an array in it isn't as large as it says")


def sparse_bytes(buffer: io.BytesIO) -> int:
    """How large a ``.npz`` unpacks, the zip in the zip that holds a sparse matrix, if it may."""
    try:
        with zipfile.ZipFile(buffer) as archive:
            sizes = _sizes(archive, len(buffer.getbuffer()))
            for name, size in sizes.items():
                with archive.open(name) as member:
                    _check_array(member, size)
    except BROKEN as error:
        raise LoadError("the skops file is corrupt: a sparse matrix in it isn't one") from error
    buffer.seek(0)
    return sum(sizes.values())
