"""What a file is, by its first bytes.

Pure: bytes in, a word out. Says what a wrong file really is, so that an error can name it ("a tar
archive", "an HTML page") instead of a parser's complaint. Never reads files, never decompresses
more than a few hundred bytes.
"""

from __future__ import annotations

import bz2
import contextlib
import lzma
import zlib
from typing import Final

HEAD_BYTES: Final = 4096
"""How much of a file is read to recognise it."""

_PEEK_BYTES = 600  # enough for a tar header's magic at 257

COMPRESSED: Final = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\xfd7zXZ": "xz",
    b"\x5d\x00": "lzma",
    b"\x04\x22\x4d\x18": "lz4",
}

_MAGIC: Final = (
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed data"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"ZF", "a pickle of joblib before 0.10 (save it again with today's)"),
    (b"\x7fELF", "an executable"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"%PDF", "a PDF"),
)

_PROTOCOL_0 = b"(c]}lgNIFVSJKM"  # opcodes that can begin a pickle without a PROTO opcode


def compression(head: bytes) -> str | None:
    """The compression joblib would see in these first bytes, or ``None``."""
    for magic, name in COMPRESSED.items():
        if head.startswith(magic):
            return name
    # zlib has two bytes of header whose value as one number is a multiple of 31
    is_zlib = len(head) > 1 and head[0] == 0x78 and (head[0] << 8 | head[1]) % 31 == 0
    return "zlib" if is_zlib else None


def inner_head(head: bytes, kind: str) -> bytes:
    """The first bytes of what is compressed, ``b""`` where that can't be told."""
    with contextlib.suppress(zlib.error, lzma.LZMAError, OSError, EOFError, ValueError):
        if kind == "gzip":
            return zlib.decompressobj(wbits=31).decompress(head, _PEEK_BYTES)
        if kind == "zlib":
            return zlib.decompressobj().decompress(head, _PEEK_BYTES)
        if kind == "bz2":
            return bz2.BZ2Decompressor().decompress(head, _PEEK_BYTES)
        if kind in {"xz", "lzma"}:
            return lzma.LZMADecompressor().decompress(head, _PEEK_BYTES)
    return b""


def is_pickle(head: bytes) -> bool:
    """Whether this begins like a pickle of protocol 2 and up."""
    return len(head) > 2 and head[0] == 0x80 and 2 <= head[1] <= 5


def may_be_old_pickle(head: bytes) -> bool:
    """Whether this may be a pickle of protocol 0 or 1, which have no magic number."""
    return bool(head) and head[0] in _PROTOCOL_0


def describe(head: bytes) -> str:
    """What these first bytes are, as a noun with its article."""
    if not head.strip(b"\x00"):
        return "an empty file" if not head else "a file of zero bytes"
    for magic, noun in _MAGIC:
        if head.startswith(magic):
            return noun
    if head[257:262] == b"ustar":
        return "a tar archive"
    kind = compression(head)
    if kind is not None:
        return _describe_compressed(kind, inner_head(head, kind))
    if is_pickle(head):
        return "a pickle"
    return _describe_text(head)


def _describe_compressed(kind: str, inner: bytes) -> str:
    if inner[257:262] == b"ustar":
        return f"a tar archive ({kind})"
    return f"a pickle ({kind})" if is_pickle(inner) else f"{kind}-compressed data"


def _describe_text(head: bytes) -> str:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    if text.startswith(b"<"):
        return "an XML document, perhaps an error page"
    if text.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the file itself"
    if text.startswith((b"{", b"[")):
        return "a JSON document"
    try:
        head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return "data of no known format"
    return "a text"
