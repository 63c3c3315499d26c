"""Which script answers for an artifact: its own, or the one that all share.

An artifact's own ``code/`` goes before the shared one and is never passed over in silence: where it
may not run, or its script isn't there, the load fails and says what would help. Looks at names
only and runs nothing.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from loaders.base import LoadError, LoadOptions
from loaders.folder import code_files

_PROGRAM: Final = re.compile(r"(?:[^\W\d]\w*/)*[^\W\d]\w*\.py")
_SHOWN: Final = 5


class Script(NamedTuple):
    """``program`` in the folder ``code`` answers for the model in ``folder``."""

    folder: Path
    code: Path
    program: str
    is_shared: bool = False

    def below(self, artifact: Path) -> PurePosixPath | None:
        """Where in the artifact's folder it is; ``None`` for one that isn't the artifact's own."""
        if self.is_shared:
            return None
        return PurePosixPath((self.code / self.program).relative_to(artifact).as_posix())


def find_script(folder: Path, options: LoadOptions) -> Script | None:
    """The script of the artifact in ``folder``; raises LoadError where it has one in vain."""
    own = code_files(folder)
    if not options.trusted:
        if own:
            named = (path for path in own if path.name == PurePosixPath(options.program).name)
            raise LoadError(
                f"this artifact carries its own inference code ({next(named, own[0])}), which "
                "runs only where the models are trusted: set MMS_TRUST=all if whoever writes to "
                "the prefix may run code here",
                needs="trust",
            )
        return None
    program = _program(options)
    shared = Path(options.shared_code) if options.shared_code else None
    if own:
        script = _own(folder, own, program)
        if script is not None:
            return script
    if shared is not None and (shared / program).is_file():
        return Script(folder, shared, program, is_shared=True)
    if own:
        raise _no_program(own, program)
    return None


def _program(options: LoadOptions) -> str:
    program = options.options.get("script", options.program)
    if not isinstance(program, str) or not _PROGRAM.fullmatch(program):
        raise LoadError(
            f"{str(program)[:100]!a} isn't a script in code/: name a Python file such as "
            "inference.py"
        )
    return program


def _own(folder: Path, files: list[PurePosixPath], program: str) -> Script | None:
    """In the outermost ``code/`` that has the program; what holds ``code/`` is the model."""
    for path in files:
        place = PurePosixPath(*path.parts[: path.parts.index("code")])
        if path == place / "code" / program:
            return Script(folder / place, folder / place / "code", program)
    return None


def _no_program(files: list[PurePosixPath], program: str) -> LoadError:
    more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
    there = ", ".join(str(path) for path in files[:_SHOWN]) + more
    return LoadError(
        f"code/{program} isn't there, only {there}: name the script with SAGEMAKER_PROGRAM, or in "
        'manifest.json as "options": {"script": "..."}'
    )
