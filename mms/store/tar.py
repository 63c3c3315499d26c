"""Tar headers, one after the other, out of a stream of bytes that nobody vouches for.

Knows the format, never the disk: yields what each member says of itself and leaves its data to be
read. Everything an archive can announce is bounded before it is believed. The standard library's
block parser is used, its reader isn't: that one believes sizes, and follows extensions unbounded.
"""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from mms.errors import ModelLoadError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mms.store.limits import Limits

BLOCK = tarfile.BLOCKSIZE
Kind = Literal["file", "folder", "link"]

_MAX_EXTENSIONS = 16  # of one member; writers use four at most
_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_LINKS = (tarfile.LNKTYPE, tarfile.SYMTYPE)
_DEVICES = (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)
_EXTENSIONS = (
    tarfile.XHDTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


class Source(Protocol):
    """Unpacked bytes in order."""

    def exactly(self, n: int) -> bytes:
        """``n`` bytes; fewer only at the end."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """What a header says. ``size`` bytes of data follow it, then padding to a whole block."""

    kind: Kind
    name: str
    target: str  # of a link
    symbolic: bool
    size: int


def padding(size: int) -> int:
    return -size % BLOCK


def looks_like_tar(block: bytes) -> bool:
    """Whether a first block is a header or the end mark of an empty archive."""
    return _is_end(block) or begins_with_header(block)


def begins_with_header(block: bytes) -> bool:
    """Whether a first block is a header, by the checksum in it."""
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        return False
    return True


def read_members(source: Source, limits: Limits) -> Iterator[Member]:
    """Every member up to the end mark; the caller takes its data and padding in between."""
    extended: dict[str, str] = {}
    in_a_row = 0
    while (header := _read_header(source)) is not None:
        if header.type in _EXTENSIONS:
            in_a_row += 1
            if in_a_row > _MAX_EXTENSIONS:
                raise ModelLoadError("the archive has extended headers without a member")
            extended |= _read_extension(source, header, limits)
        else:
            yield _member(header, extended)
            extended, in_a_row = {}, 0
    if extended:
        raise ModelLoadError("the archive has extended headers without a member")
    if not _is_end(source.exactly(BLOCK)):
        raise ModelLoadError("the archive is truncated: half of its end mark is missing")


def _is_end(block: bytes) -> bool:
    return block.count(0) == BLOCK


def _read_header(source: Source) -> tarfile.TarInfo | None:
    block = source.exactly(BLOCK)
    if len(block) < BLOCK:
        raise ModelLoadError("the archive is truncated: it ends without its end mark")
    if _is_end(block):
        return None
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        raise ModelLoadError("the archive is corrupt: a header's checksum is wrong") from None
    if header.size < 0:
        raise ModelLoadError("the archive is corrupt: a member has a negative size")
    return header


def _read_extension(source: Source, header: tarfile.TarInfo, limits: Limits) -> dict[str, str]:
    """What a header says that only exists to say more of the next one."""
    if header.size > limits.header_bytes:
        raise ModelLoadError(f"the archive has an extended header of {header.size:,} bytes")
    data = source.exactly(header.size + padding(header.size))[: header.size]
    if len(data) < header.size:
        raise ModelLoadError("the archive is truncated in an extended header")
    match header.type:
        case tarfile.GNUTYPE_LONGNAME:
            return {"path": _text(data.rstrip(b"\0"))}
        case tarfile.GNUTYPE_LONGLINK:
            return {"linkpath": _text(data.rstrip(b"\0"))}
        case tarfile.XGLTYPE:
            return {}  # holds for the whole archive: comments, times; nothing that we use
        case _:
            return _parse_pax(data)


def _parse_pax(data: bytes) -> dict[str, str]:
    """Records of ``length key=value`` and a newline; the length counts the whole record."""
    records = {}
    at = 0
    while at < len(data):
        digits, blank, _ = data[at : at + 12].partition(b" ")
        if not blank or not digits.isdigit():
            raise ModelLoadError("the archive is corrupt: an extended header has no length")
        record = data[at : at + int(digits)]
        key, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        if len(record) < int(digits) or not equals or record[-1:] != b"\n":
            raise ModelLoadError("the archive is corrupt: an extended header breaks off")
        at += int(digits)
        if key.startswith(b"GNU.sparse."):
            raise ModelLoadError("the archive holds a sparse file: pack it without --sparse")
        if key in {b"path", b"linkpath", b"size"}:
            records[key.decode()] = _text(value)
    return records


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _member(header: tarfile.TarInfo, extended: dict[str, str]) -> Member:
    name = extended.get("path", header.name)
    kind = _kind(header, name)
    return Member(
        kind=kind,
        name=name,
        target=extended.get("linkpath", header.linkname) if kind == "link" else "",
        symbolic=header.type == tarfile.SYMTYPE,
        size=_size(header, extended) if kind == "file" else 0,
    )


def _kind(header: tarfile.TarInfo, name: str) -> Kind:
    if header.type in _FILES:
        return "file"
    if header.type == tarfile.DIRTYPE:
        return "folder"
    if header.type in _LINKS:
        return "link"
    if header.type in _DEVICES:
        raise ModelLoadError(f"the archive holds a device or pipe: {name[:80]!r}")
    if header.type == tarfile.GNUTYPE_SPARSE:
        raise ModelLoadError("the archive holds a sparse file: pack it without --sparse")
    raise ModelLoadError(f"the archive holds a member of unknown type: {name[:80]!r}")


def _size(header: tarfile.TarInfo, extended: dict[str, str]) -> int:
    size = extended.get("size", "")
    if not size:
        return header.size
    if not (size.isascii() and size.isdigit() and len(size) < 20):
        raise ModelLoadError("the archive is corrupt: a member's size is no number")
    return int(size)
