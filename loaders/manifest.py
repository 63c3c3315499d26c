"""``manifest.json``: what an artifact says about itself.

Optional, written by hand or by a packer, and hostile like everything inside an artifact: bounded in
size, strict in types, and never believed where it names a path outside its folder. Unknown keys are
ignored. What is wrong is a ``LoadError`` that names the key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

from loaders.base import LoadError, Signature, TensorSpec

NAME: Final = "manifest.json"
MAX_BYTES: Final = 1 << 20
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class Manifest:
    """The keys this version knows; everything is optional."""

    format: str | None = None
    entry: PurePosixPath | None = None
    method: str | None = None
    signature: Signature | None = None
    batchable: bool | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)  # path -> SHA-256
    options: Mapping[str, Any] = field(default_factory=dict)


def read_manifest(folder: Path) -> Manifest:
    """The folder's manifest, an empty one if it has none."""
    path = folder / NAME
    if not path.is_file():
        return Manifest()
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise LoadError(f"{NAME} is larger than {MAX_BYTES} bytes")
    return parse_manifest(data)


def parse_manifest(data: bytes) -> Manifest:
    """Read a manifest's bytes; raises LoadError."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise LoadError(f"{NAME} isn't valid JSON") from error
    if not isinstance(document, dict):
        raise LoadError(f"{NAME} must hold an object, not {_kind(document)}")
    given = {key: value for key, value in document.items() if value is not None}
    return Manifest(
        format=_text(given, "format"),
        entry=_entry(given),
        method=_text(given, "method"),
        signature=_signature(given),
        batchable=_typed(given, "batchable", bool),
        versions=_text_map(given, "versions"),
        files=_files(given),
        options=_typed(given, "options", dict) or {},
    )


def _kind(value: object) -> str:
    kinds = {dict: "an object", list: "an array", str: "a string", bool: "a boolean"}
    return kinds.get(type(value), "null" if value is None else "a number")


def _typed(given: dict[str, Any], key: str, wanted: type[Any]) -> Any:
    value = given.get(key)
    if value is None or type(value) is wanted:
        return value
    raise LoadError(f"{NAME}: '{key}' must be {_kind(wanted())}, not {_kind(value)}")


def _text(given: dict[str, Any], key: str) -> str | None:
    value: str | None = _typed(given, key, str)
    if value is not None and not (0 < len(value) <= 1024 and value.isprintable()):
        raise LoadError(f"{NAME}: '{key}' must be a short printable string")
    return value


def _text_map(given: dict[str, Any], key: str) -> dict[str, str]:
    table: dict[str, Any] = _typed(given, key, dict) or {}
    for name, value in table.items():
        if not isinstance(value, str):
            raise LoadError(f"{NAME}: '{key}.{name[:100]}' must be a string, not {_kind(value)}")
    return table


def inside(text: str, key: str) -> PurePosixPath:
    """``text`` as a path that stays in the folder; raises LoadError naming ``key``."""
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in text or "\0" in text:
        raise LoadError(f"{NAME}: '{key}' must be a path inside the artifact, got {text[:200]!r}")
    return path


def _entry(given: dict[str, Any]) -> PurePosixPath | None:
    text = _text(given, "entry")
    return None if text is None else inside(text, "entry")


def _files(given: dict[str, Any]) -> dict[str, str]:
    files = _text_map(given, "files")
    for name, digest in files.items():
        inside(name, "files")
        if len(digest) != 64 or not _HEX.issuperset(digest.lower()):
            raise LoadError(f"{NAME}: 'files.{name[:100]}' must be a SHA-256 in hex")
    return files


def _signature(given: dict[str, Any]) -> Signature | None:
    table: dict[str, Any] | None = _typed(given, "signature", dict)
    if table is None:
        return None
    return Signature(inputs=_tensors(table, "inputs"), outputs=_tensors(table, "outputs"))


def _tensors(table: dict[str, Any], side: str) -> tuple[TensorSpec, ...]:
    entries = [] if table.get(side) is None else table[side]
    if not isinstance(entries, list):
        raise LoadError(f"{NAME}: 'signature.{side}' must be an array, not {_kind(entries)}")
    return tuple(_tensor(e, f"signature.{side}[{i}]") for i, e in enumerate(entries))


def _tensor(entry: object, key: str) -> TensorSpec:
    if not isinstance(entry, dict):
        raise LoadError(f"{NAME}: '{key}' must be an object, not {_kind(entry)}")
    name, dtype, shape = entry.get("name", ""), entry.get("dtype", "any"), entry.get("shape", [])
    if not isinstance(name, str) or not isinstance(dtype, str):
        raise LoadError(f"{NAME}: '{key}': 'name' and 'dtype' must be strings")
    if not isinstance(shape, list) or not all(_is_dimension(d) for d in shape):
        raise LoadError(f"{NAME}: '{key}.shape' must be an array of sizes, null for any")
    return TensorSpec(name=name, dtype=dtype, shape=tuple(shape))


def _is_dimension(size: object) -> bool:
    return size is None or (type(size) is int and size >= 0)
