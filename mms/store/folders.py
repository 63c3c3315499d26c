"""A folder of objects as one artifact: a listing, then each object in the version listed.

Its version is made of its files' versions, so that the listing alone tells whether it is new.
Everything that the listing can tell is held against the bounds before anything is fetched; names
go the way of an archive's. What is wrong with it is a ``ModelLoadError`` that says which.
"""

from __future__ import annotations

import hashlib
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING

from mms.errors import ModelLoadError, ModelNotFound
from mms.store.archive import Unpacked
from mms.store.base import NotModified
from mms.store.recognise import ARCHIVES
from mms.store.targets import MANIFEST, folder_etag, is_content
from mms.store.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mms.store.base import ArtifactStore, Listed
    from mms.store.limits import Limits
    from mms.store.tree import Room
    from mms.types import TargetModel

_MODELS = (".joblib", ".pkl", ".pickle", ".onnx")  # two of them are always two models
_SHOWN = 5


class FolderOfObjects:
    """What the store has below ``target``, which ends in a slash; nothing of it is read yet."""

    def __init__(
        self, store: ArtifactStore, target: TargetModel, listed: Sequence[Listed], deadline: float
    ) -> None:
        self._store = store
        self._target = target
        self._deadline = deadline
        self._objects = len(listed)
        self._files = {
            relative: one
            for one in listed
            if is_content(relative := one.key.removeprefix(target), one.size)
        }
        self.etag = folder_etag((name, one.etag, one.size) for name, one in self._files.items())
        self.size = sum(one.size for one in self._files.values())

    def __len__(self) -> int:
        return len(self._files)

    def unpack(self, dest: Path, limits: Limits, room: Room) -> Unpacked:
        """Fetch all files into ``dest``, an empty folder of ours."""
        self._check(limits)
        tree = Tree(dest, limits, room)
        room.need(self.size + tree.overhead_of(self._files))
        hashes: dict[str, str] = {}
        relative = {one.key: name for name, one in self._files.items()}
        with closing(
            self._store.read_all(tuple(self._files.values()), deadline=self._deadline)
        ) as members:
            for one, blocks in members:
                digest = hashlib.sha256()
                tree.add_file(relative[one.key], one.size, _hashed(blocks, digest))
                hashes[relative[one.key]] = digest.hexdigest()
        tree.finish()
        return Unpacked(
            bytes=tree.bytes,
            disk_bytes=tree.disk_bytes,
            members=tree.members,
            sha256=hashlib.sha256(repr(sorted(hashes.items())).encode()).hexdigest(),
            files=tree.files,
        )

    def close(self) -> None:
        """Nothing is held between two reads."""

    def _check(self, limits: Limits) -> None:
        if self._objects > limits.members:
            raise ModelLoadError(f"the folder has more than {limits.members:,} objects")
        if self.size > limits.unpacked_bytes:
            raise ModelLoadError(f"the folder holds more than {limits.unpacked_bytes:,} bytes")
        if MANIFEST not in self._files and not any("code" in n.split("/") for n in self._files):
            _refuse_collection(list(self._files))


def _refuse_collection(names: list[str]) -> None:
    """Say of a folder full of artifacts that it is none before gigabytes of them are fetched."""
    models = [name for name in names if name.lower().endswith(_MODELS)]
    if len(models) > 1:
        raise ModelLoadError(
            f"there are several models inside ({_list(models)}): "
            f'name one in {MANIFEST}, as "entry", or ask for one by its own name'
        )
    if all(name.lower().endswith(ARCHIVES) for name in names):
        raise ModelLoadError(
            f"there is no model inside, only archives ({_list(names)}), which are not unpacked in "
            "a folder: ask for one by its own name"
        )


def _list(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(ascii(name[:80])[1:-1] for name in names[:_SHOWN]) + more


def _hashed(blocks: Iterator[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    for block in blocks:
        digest.update(block)
        yield block


def open_folder(
    store: ArtifactStore,
    target: TargetModel,
    *,
    known_etag: str | None,
    deadline: float,
    limits: Limits,
) -> FolderOfObjects:
    """List the folder ``target``; raises NotModified, ModelNotFound, StoreUnavailable.

    A listing is followed no further than to the first object too many.
    """
    listed = tuple(islice(store.list(target, deadline=deadline), limits.members + 1))
    folder = FolderOfObjects(store, target, listed, deadline)
    if not folder and len(listed) <= limits.members:
        raise ModelNotFound(f"model {target!r} was not found: the store has nothing in this folder")
    if folder.etag == known_etag:
        raise NotModified
    return folder
