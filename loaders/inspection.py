"""What can be told of an artifact without loading it, and without running anything of it.

Its format and versions, whether it carries a script and what that one lacks, and the names that
its pickle may not use. Never says whether it would load: only a load does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from loaders.base import LoadError, LoadOptions
from loaders.environment import OBJECTS, relevant
from loaders.folder import code_files
from loaders.load import model_file
from loaders.manifest import Manifest, read_manifest
from loaders.pickles.refusals import refused_names
from loaders.scripts.requirements import unmet
from loaders.versions import versions_of


@dataclass(frozen=True)
class Inspection:
    """``script`` is a path in the artifact, "" where it has none."""

    format: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    needs: Mapping[str, str] = field(default_factory=dict)  # those that a load depends on
    script: str = ""
    unmet: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    runs_code: bool = False  # a load would: of a script, or of objects that may be of any type


def inspect(folder: Path, options: LoadOptions) -> Inspection:
    """Look at what is in ``folder``; raises LoadError where it is unreadable, MemoryError."""
    manifest = read_manifest(folder)
    code = code_files(folder)
    path, kind = _found(folder, manifest)
    is_pickle = kind == "sklearn"
    versions = versions_of(path, manifest)
    return Inspection(
        format=kind,
        versions=versions,
        needs=relevant(versions, kind) if kind else versions,
        script=_script(code, options),
        unmet=tuple(_unmet(folder, code)),
        refused=tuple(refused_names(path, options.allow_globals)) if path and is_pickle else (),
        runs_code=options.trusted and (bool(code or options.shared_code) or kind in OBJECTS),
    )


def _found(folder: Path, manifest: Manifest) -> tuple[Path | None, str]:
    try:
        path, kind = model_file(folder, manifest)
    except LoadError:  # none, or several: the load says so, or the script knows
        return None, ""
    return folder / path, kind


def _script(code: list[PurePosixPath], options: LoadOptions) -> str:
    named = (path for path in code if path.name == PurePosixPath(options.program).name)
    return str(next(named, code[0])) if code else ""


def _unmet(folder: Path, code: list[PurePosixPath]) -> list[str]:
    if not code:
        return []
    parts = code[0].parts
    place = PurePosixPath(*parts[: parts.index("code") + 1])
    return unmet(folder / place)
