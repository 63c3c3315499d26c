"""Whether an artifact is an archive, and how packed: by its first bytes, then by its name.

Pure: bytes and a name in, a word out. Content decides among archives and makes one of a file of any
name. What is compressed without a tar inside stays as it is unless its name says archive: pickles
are compressed too, and many formats of models are zip files within.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from mms.errors import ModelLoadError
from mms.store import gunzip, tar, unzstd
from mms.store.blocks import beginning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mms.store.limits import Limits

ARCHIVES = (".tar.gz", ".tgz", ".tar", ".tar.zst", ".tzst")
UNSUPPORTED = (".zip", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.lz4", ".7z", ".rar")
HEAD_BYTES = unzstd.MAX_HEAD + (64 << 10)  # skippable frames may come first
"""How much of an artifact is looked at."""

_USE = "use .tar.gz, .tgz, .tar or .tar.zst"
_OTHER = (
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"BZh", "packed with bzip2"),
    (b"\xfd7zXZ", "packed with xz"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
)


def is_archive(name: str, head: bytes, limits: Limits) -> bool:
    """Whether to unpack it; ``name`` is its last part, ``head`` its first ``HEAD_BYTES``.

    Raises ``ModelLoadError`` for an archive of a kind that isn't read.
    """
    lower = name.lower()
    if lower.endswith(ARCHIVES) or _holds_tar(head, limits):
        return True
    if lower.endswith(UNSUPPORTED):
        raise ModelLoadError(f"this kind of archive isn't supported: {_USE}")
    return False


def tar_blocks(head: bytes, blocks: Iterator[bytes], limits: Limits) -> Iterator[bytes]:
    """The tar that is in ``blocks``, whatever it is packed with; ``head`` is their beginning."""
    inner, packing = _inner(head, blocks, limits)
    first = beginning(inner, tar.BLOCK)
    if not tar.looks_like_tar(first[: tar.BLOCK]):
        what = f"{packing}, but with no tar inside" if packing else _described(head)
        raise ModelLoadError(f"the artifact is not an archive that can be read: it is {what}")
    return chain((first,), inner)


def _inner(head: bytes, blocks: Iterator[bytes], limits: Limits) -> tuple[Iterator[bytes], str]:
    """What the blocks hold, and what they are compressed with: "" for nothing."""
    if head.startswith(gunzip.MAGIC):
        return gunzip.gunzip(blocks, limits), "gzip"
    if unzstd.begins_zstd(head):
        return unzstd.unzstd(blocks, limits), "zstd"
    return blocks, ""


def _holds_tar(head: bytes, limits: Limits) -> bool:
    inner, _ = _inner(head, iter((head,)), limits)
    try:
        first = beginning(inner, tar.BLOCK)
    except ModelLoadError:  # broken, or cut by us before anything came out
        return False
    return tar.begins_with_header(first[: tar.BLOCK])


def _described(head: bytes) -> str:
    for magic, noun in _OTHER:
        if head.startswith(magic):
            return f"{noun}: {_USE}"
    if not head:
        return "empty"
    return "neither gzip nor zstd nor tar"
