"""The versions that an artifact was saved by, read without loading it.

scikit-learn writes its version into every pickled estimator. It is found by searching the bytes for
the one key as pickles spell it, which costs next to nothing: the innermost estimator, which comes
first, has it in full, and the outermost has it at the end of the file. Walks through no opcodes,
runs nothing, takes nothing for granted: a file that lies or is broken yields no version.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from loaders import sniff
from loaders.base import LoadError
from loaders.manifest import Manifest
from loaders.pickles.source import BROKEN, open_source

LOOK_BYTES: Final = 64 << 20
"""How much of a file is looked at besides its end."""
LOOK_BYTES_UNPACKED: Final = 4 << 20
"""The same of a compressed one, whose end has its price. What is deeper shows in the load."""
ALL_BYTES: Final = 16 << 30
_BLOCK_BYTES: Final = 1 << 20
_OVERLAP: Final = 128  # more than the key and a version take: neither is cut by a block's end
_KEY: Final = b"_sklearn_version"
# The key's closing quote, memo and frame opcodes; then the value as each protocol writes a text.
_VALUE: Final = re.compile(
    rb"'?(?:\x94|q.|r.{4}|\n(?:p\d{1,9}\n)?)?(?:\x95.{8})?"
    rb"(?:[\x8cU](?P<short>.)|[XT](?P<long>.)\0\0\0|V|S')(?P<text>\d[0-9A-Za-z.+]{0,40})"
    rb"(?P<end>[\n'])?",
    re.DOTALL,
)
_SEPARATORS: Final = re.compile(r"[-_.]+")
_ALIASES: Final = {"sklearn": "scikit-learn"}


def versions_of(
    path: Path, manifest: Manifest | None = None, *, thoroughly: bool = False
) -> dict[str, str]:
    """By distribution name (``python`` is one too), as far as the artifact tells.

    What stands in the pickle itself is believed before what the manifest says of it. ``thoroughly``
    looks at the whole file, whatever it takes.
    """
    told = {} if manifest is None else manifest.versions
    versions = {canonical(name): version for name, version in told.items()}
    found = sklearn_version(path, thoroughly=thoroughly)
    if found is not None:
        versions["scikit-learn"] = found
    return versions


def canonical(name: str) -> str:
    """A distribution's name as the package index compares it."""
    name = _SEPARATORS.sub("-", name.strip()).lower()
    return _ALIASES.get(name, name)


def sklearn_version(path: Path, *, thoroughly: bool = False) -> str | None:
    """The version of scikit-learn in a pickle, ``None`` where there is none to be found."""
    try:
        with path.open("rb") as file:
            head = file.read(sniff.HEAD_BYTES)
            if sniff.compression(head) is not None:
                return _search(
                    _decompressed(path, ALL_BYTES if thoroughly else LOOK_BYTES_UNPACKED)
                )
            if sniff.is_pickle(head) or sniff.may_be_old_pickle(head):
                return _search(_plain(file, ALL_BYTES if thoroughly else LOOK_BYTES))
    except (*BROKEN, LoadError, MemoryError):
        pass  # whoever loads it says what is wrong
    return None


def _search(blocks: Iterator[bytes]) -> str | None:
    before = b""
    for block in blocks:
        data = before + block
        version = _first(data)
        if version is not None:
            return version
        before = data[-_OVERLAP:]
    return None


def _first(data: bytes) -> str | None:
    at = data.find(_KEY)
    while at >= 0:
        value = _VALUE.match(data, at + len(_KEY))
        if value is not None and (text := _whole(value)):
            return text.decode("ascii")
        at = data.find(_KEY, at + 1)
    return None


def _whole(value: re.Match[bytes]) -> bytes:
    """The text of a value, nothing if a block's end has cut it."""
    size, text = value["short"] or value["long"], value["text"]
    if size is None:
        return text if value["end"] else b""
    return text[: size[0]] if len(text) >= size[0] else b""


def _decompressed(path: Path, look_bytes: int) -> Iterator[bytes]:
    with open_source(path) as source:
        for _ in range(look_bytes // _BLOCK_BYTES):
            block = source.read(_BLOCK_BYTES)
            if not block:
                return
            yield block


def _plain(file: BinaryIO, look_bytes: int) -> Iterator[bytes]:
    """First where versions stand, the beginning and the end, then what is between."""
    file.seek(0)
    yield file.read(_BLOCK_BYTES)
    end = file.seek(0, 2)
    file.seek(max(0, end - _BLOCK_BYTES))
    yield file.read(_BLOCK_BYTES)
    file.seek(max(0, _BLOCK_BYTES - _OVERLAP))
    for _ in range(look_bytes // _BLOCK_BYTES):
        block = file.read(_BLOCK_BYTES)
        if not block:
            return
        yield block
