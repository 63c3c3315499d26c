"""Which keys of a listing are targets. Pure: a listing in, candidates out, no store asked.

A folder with a ``manifest.json`` is one target, with all that is below it; elsewhere archives and
model files are targets by their names, and everything else is told as such. Also what a folder of
objects consists of, and the one version that stands for all of its files.
"""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from mms.errors import ModelNotFound, ValidationError
from mms.store.recognise import ARCHIVES, UNSUPPORTED
from mms.target import parse_target

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from mms.store.base import Listed

MANIFEST = "manifest.json"
_PLAIN = (".joblib", ".pkl", ".pickle")
COMPRESSED = tuple(name + packed for name in _PLAIN for packed in (".gz", ".z", ".bz2", ".xz"))
MODEL_FILES = (
    *_PLAIN,
    *COMPRESSED,
    *(".onnx", ".skops", ".ubj", ".bst", ".lgb", ".cbm", "xgboost-model"),
)
REFUSED = (
    *UNSUPPORTED,
    *(".pt", ".pth", ".pt2", ".ckpt", ".safetensors", ".gguf", ".h5", ".keras", ".tflite"),
    *(".pb", ".pmml", ".mlmodel", ".pdmodel", ".cloudpickle", ".dill"),
)
"""Models all the same, of kinds that aren't served: a scan says so instead of leaving them out."""

Kind = Literal["archive", "file", "folder", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What may be asked for as ``target``; kind "other" is no target by its name."""

    target: str
    kind: Kind
    etag: str
    size: int
    modified: datetime  # of a folder, its newest file's
    objects: int = 1


def folder_etag(files: Iterable[tuple[str, str, int]]) -> str:
    """One version made of all files': their names below the folder, ETags and sizes.

    In whatever order they were listed: not every server has that of S3.
    """
    digest = hashlib.sha256()
    for one in sorted(files):
        digest.update(repr(one).encode())
    return digest.hexdigest()[:32]


def is_content(relative: str, size: int) -> bool:
    """Whether a key below a folder is a file of it: no hidden one, no console's folder marker."""
    if not relative or (relative.endswith("/") and not size):
        return False
    hidden = (part[:1] == "." and part not in {".", ".."} for part in relative.split("/"))
    return not any(hidden)  # the two that lead elsewhere are refused with their name


def targets_of(listed: Iterable[Listed]) -> Iterator[Candidate]:
    """The candidates among ``listed``, which is in the order of code points.

    Holds back what a manifest that is still to come may make part of its folder: the keys of a
    folder up to ``manifest.json``. Where folders with manifests are nested, the outermost counts.
    A server that lists folder by folder instead is understood too.
    """
    sorter = _Sorter()
    for one in listed:
        yield from sorter.take(one)
    yield from sorter.finish()


class _Sorter:
    """Keys wait in order until no manifest can come that claims them."""

    def __init__(self) -> None:
        self._waiting: deque[Listed] = deque()
        self._with_manifest: set[str] = set()
        self._now = ""  # the last key seen; nothing before it comes any more
        self._is_over = False
        self._folder: _Folder | None = None  # the one whose files are being taken

    def take(self, one: Listed) -> Iterator[Candidate]:
        self._now = one.key
        if not is_content(one.key, one.size):
            return
        place, _, name = one.key.rpartition("/")
        if name == MANIFEST and _is_nameable(place + "/"):
            self._with_manifest.add(place + "/")
        self._waiting.append(one)
        yield from self._decided()

    def finish(self) -> Iterator[Candidate]:
        self._is_over = True
        yield from self._decided()
        yield from self._end_folder()

    def _decided(self) -> Iterator[Candidate]:
        while self._waiting and (place := self._place(self._waiting[0].key)) is not None:
            one = self._waiting.popleft()
            if self._folder is not None and self._folder.target != place:
                yield from self._end_folder()
            if not place:
                yield _single(one)
                continue
            if self._folder is None:
                self._folder = _Folder(place, one.modified)
            self._folder.add(one)

    def _place(self, key: str) -> str | None:
        """The outermost folder with a manifest that ``key`` is in, "" for none; None: not yet."""
        at = key.find("/")
        while at >= 0:
            folder = key[: at + 1]
            if folder in self._with_manifest:
                return folder
            if not self._is_over and self._now <= folder + MANIFEST:
                return None
            at = key.find("/", at + 1)
        return ""

    def _end_folder(self) -> Iterator[Candidate]:
        if self._folder is not None:
            self._with_manifest.discard(self._folder.target)
            yield self._folder.candidate()
            self._folder = None


@dataclass(slots=True)
class _Folder:
    target: str
    modified: datetime
    files: list[tuple[str, str, int]] = field(default_factory=list)

    def add(self, one: Listed) -> None:
        self.files.append((one.key.removeprefix(self.target), one.etag, one.size))
        self.modified = max(self.modified, one.modified)

    def candidate(self) -> Candidate:
        return Candidate(
            target=self.target,
            kind="folder",
            etag=folder_etag(self.files),
            size=sum(size for _, _, size in self.files),
            modified=self.modified,
            objects=len(self.files),
        )


def _single(one: Listed) -> Candidate:
    return Candidate(
        target=one.key,
        kind=_kind(one.key),
        etag=one.etag,
        size=one.size,
        modified=one.modified,
    )


def _kind(key: str) -> Kind:
    lower = key.lower()
    if lower.endswith(ARCHIVES) and _is_nameable(key):
        return "archive"
    if lower.endswith(MODEL_FILES + REFUSED) and _is_nameable(key):
        return "file"
    return "other"


def _is_nameable(key: str) -> bool:
    """Whether a caller can ask for it: some keys are well-formed in S3 and no targets."""
    try:
        return parse_target(key) == key
    except (ValidationError, ModelNotFound):
        return False
