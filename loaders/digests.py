"""Whether an artifact's files are those that its manifest names, by SHA-256.

Files that the manifest doesn't name may be there; those it names must be there and the same, and if
it names any, the model file must be among them. Reads in blocks, each file once however many names
it has. Raises ``LoadError`` naming the first file that differs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from loaders.base import LoadError
from loaders.folder import real_path
from loaders.manifest import NAME as MANIFEST

_BLOCK: Final = 1 << 20


def verify(folder: Path, digests: Mapping[str, str], model: PurePosixPath | None) -> None:
    """Hold the files of ``folder`` against ``digests``, SHA-256 in hex by path.

    ``model`` is the file that will be loaded, ``None`` where that is none of the folder's. Hidden
    files are passed over: they are left out of what is unpacked, and never loaded.
    """
    if not digests:
        return
    known: dict[tuple[int, int], str] = {}
    for name, wanted in digests.items():
        path = PurePosixPath(name)
        if any(part.startswith(".") for part in path.parts):
            continue
        if not (folder / path).is_file():
            raise LoadError(f"{MANIFEST}: '{path}' is in 'files', but not in the artifact")
        real = real_path(folder, path)
        file = _identity(real)
        if file not in known:
            known[file] = _sha256(real)
        if known[file] != wanted.lower():
            raise LoadError(f"{MANIFEST}: '{path}' has another SHA-256 than the manifest says")
    if model is not None and _identity(folder / model) not in known:
        raise LoadError(f"{MANIFEST}: the model file '{model}' is not in 'files'")


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(_BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()
