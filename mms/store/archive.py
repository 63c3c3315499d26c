"""Unpack an artifact while it arrives: one pass that reads, hashes, checks and writes.

Writes below the folder it is given and nowhere else, whatever the archive says. It creates plain
files and folders only: links become hard links to files of the same archive, so no path that
is written to can lead away. What is wrong with an artifact is a ``ModelLoadError`` that says
which; what the stream raises (``StoreUnavailable``) passes through. Cleaning up is the caller's.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from mms.errors import ModelLoadError
from mms.store import tar
from mms.store.blocks import Reader, beginning
from mms.store.digest import Digest
from mms.store.recognise import HEAD_BYTES, is_archive, tar_blocks
from mms.store.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mms.store.base import ArtifactStream
    from mms.store.limits import Limits
    from mms.store.tree import Room

_BLOCK = 1 << 20
_TAIL = 16 << 20  # records are 10 KiB unless asked otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """What was unpacked. ``files`` has every file's size by its path below the folder."""

    bytes: int
    disk_bytes: int  # an upper bound of what it takes on the disk
    members: int
    sha256: str  # of the bytes as they came
    files: dict[str, int]


def unpack(
    stream: ArtifactStream,
    name: str,
    dest: Path,
    limits: Limits,
    *,
    room: Room | None = None,
) -> Unpacked:
    """Unpack ``stream`` into ``dest``, an empty folder of ours; ``name`` is the artifact's.

    What is an archive is unpacked, any other file is written as it is. ``room`` is asked before
    anything is written.
    """
    base = name.rpartition("/")[2]
    tree = Tree(dest, limits, room)
    with Digest(stream.size) as digest:
        rest = _hashed(stream, digest)
        head = beginning(rest, HEAD_BYTES)
        blocks = chain((head,), rest)
        if is_archive(base, head, limits):
            _unpack_archive(tar_blocks(head, blocks, limits), tree, limits)
        else:
            tree.add_file(base, stream.size, blocks)
        tree.finish()
        return Unpacked(
            bytes=tree.bytes,
            disk_bytes=tree.disk_bytes,
            members=tree.members,
            sha256=digest.hexdigest(),
            files=tree.files,
        )


def _hashed(stream: ArtifactStream, digest: Digest) -> Iterator[bytes]:
    """The stream's bytes, hashed as they pass."""
    while block := stream.read(_BLOCK):
        digest.update(block)
        yield block


def _unpack_archive(blocks: Iterator[bytes], tree: Tree, limits: Limits) -> None:
    reader = Reader(blocks)
    for member in tar.read_members(reader, limits):
        if member.kind == "file":
            tree.add_file(member.name, member.size, reader.up_to(member.size))
            reader.exactly(tar.padding(member.size))
        elif member.kind == "folder":
            tree.add_folder(member.name)
        else:
            tree.add_link(member.name, member.target, symbolic=member.symbolic)
    _expect_zeros(reader)


def _expect_zeros(reader: Reader) -> None:
    """After its end mark an archive is padded to whole records, with nothing but zeros.

    Reads to the very end: only then are the hash and the announced length known to be right.
    """
    tail = 0
    for piece in reader.up_to(sys.maxsize):
        tail += len(piece)
        if tail > _TAIL or bytes(piece).count(0) != len(piece):
            raise ModelLoadError("the archive has bytes after its end mark")
