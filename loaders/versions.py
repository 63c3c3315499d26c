"""The versions that an artifact was saved by, read without loading it.

scikit-learn writes its version into every pickled estimator. It is found by searching the bytes for
the one key as pickles spell it, which costs next to nothing: the innermost estimator, which comes
first, has it in full, and the outermost has it at the end of the file. In the schema of a skops
file it stands as JSON has it. Walks through no opcodes, runs nothing, takes nothing for granted: a
file that lies or is broken yields no version.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from loaders import sniff
from loaders.base import LoadError
from loaders.manifest import Manifest
from loaders.pickles.source import BROKEN, open_source
from loaders.sklearn import skops_zip

LOOK_BYTES: Final = 64 << 20
"""How much of a file is looked at besides its end."""
LOOK_BYTES_UNPACKED: Final = 4 << 20
"""The same of a compressed one, whose end has its price. What is deeper shows in the load."""
ALL_BYTES: Final = 16 << 30
_BLOCK_BYTES: Final = 1 << 20
_OVERLAP: Final = 512  # more than the key and a version take: neither is cut by a block's end
_KEY: Final = b"_sklearn_version"
# The key's closing quote, memo and frame opcodes; then the value as each protocol writes a text.
_VALUE: Final = re.compile(
    rb"'?(?:\x94|q.|r.{4}|\n(?:p\d{1,9}\n)?)?(?:\x95.{8})?"
    rb"(?:[\x8cU](?P<short>.)|[XT](?P<long>.)\0\0\0|V|S')(?P<text>\d[0-9A-Za-z.+]{0,40})"
    rb"(?P<end>[\n'])?",
    re.DOTALL,
)
_ZIP: Final = b"PK\x03\x04"
_BLANKS: Final = b" \t\r\n"
# A node of the schema, without its blanks: the text is JSON in JSON.
_NODE_VALUE: Final = re.compile(
    rb'":\{[^{}]{0,300}?"content":"\\"(?P<text>\d[0-9A-Za-z.+]{0,40})\\""'
)
_SEPARATORS: Final = re.compile(r"[-_.]+")
_ALIASES: Final = {"sklearn": "scikit-learn"}


def versions_of(
    path: Path | None, manifest: Manifest | None = None, *, thoroughly: bool = False
) -> dict[str, str]:
    """By distribution name (``python`` is one too), as far as the artifact tells.

    What stands in the model file itself is believed before what the manifest says of it; ``path``
    is ``None`` where it isn't known which one that is. ``thoroughly`` looks at the whole file,
    whatever it takes.
    """
    told = {} if manifest is None else manifest.versions
    versions = {canonical(name): version for name, version in told.items()}
    found = None if path is None else sklearn_version(path, thoroughly=thoroughly)
    if found is not None:
        versions["scikit-learn"] = found
    return versions


def canonical(name: str) -> str:
    """A distribution's name as the package index compares it."""
    name = _SEPARATORS.sub("-", name.strip()).lower()
    return _ALIASES.get(name, name)


def sklearn_version(path: Path, *, thoroughly: bool = False) -> str | None:
    """The version of scikit-learn in a model file, ``None`` where there is none to be found."""
    try:
        with path.open("rb") as file:
            head = file.read(sniff.HEAD_BYTES)
            if head.startswith(_ZIP):
                look_bytes = skops_zip.MAX_SCHEMA_BYTES if thoroughly else LOOK_BYTES
                return _search(_schema(file, look_bytes), _node)
            if sniff.compression(head) is not None:
                look_bytes = ALL_BYTES if thoroughly else LOOK_BYTES_UNPACKED
                return _search(_decompressed(path, look_bytes), _pickled)
            if sniff.is_pickle(head) or sniff.may_be_old_pickle(head):
                look_bytes = ALL_BYTES if thoroughly else LOOK_BYTES
                return _search(_plain(file, look_bytes), _pickled)
    except (*BROKEN, *skops_zip.BROKEN, KeyError, ValueError, LoadError, MemoryError):
        pass  # whoever loads it says what is wrong
    return None


def _search(blocks: Iterator[bytes], read: Callable[[bytes, int], bytes]) -> str | None:
    """The first version behind a key; ``read`` gives what stands at a place in a block, if any."""
    before = b""
    for block in blocks:
        data = before + block
        at = data.find(_KEY)
        while at >= 0:
            text = read(data, at + len(_KEY))
            if text:
                return text.decode("ascii")
            at = data.find(_KEY, at + 1)
        before = data[-_OVERLAP:]
    return None


def _node(data: bytes, at: int) -> bytes:
    value = _NODE_VALUE.match(data, at)
    return value["text"] if value is not None else b""


def _pickled(data: bytes, at: int) -> bytes:
    """The text of a value, nothing if a block's end has cut it."""
    value = _VALUE.match(data, at)
    if value is None:
        return b""
    size, text = value["short"] or value["long"], value["text"]
    if size is None:
        return text if value["end"] else b""
    return text[: size[0]] if len(text) >= size[0] else b""


def _schema(file: BinaryIO, look_bytes: int) -> Iterator[bytes]:
    """Without blanks, of which there are as many as the model is deep."""
    with zipfile.ZipFile(file) as archive, archive.open(skops_zip.SCHEMA) as schema:
        for _ in range(look_bytes // _BLOCK_BYTES):
            block = schema.read(_BLOCK_BYTES)
            if not block:
                return
            yield block.translate(None, _BLANKS)


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
