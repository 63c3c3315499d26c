"""Which file of an artifact's folder is the model.

Walks the folder within bounds, leaves out what operating systems put beside models, and asks the
loaders by content which file is one. None, several and unknown ones are ``LoadError``s that name
what is there; so is ``code/`` where it may not run: it is never ignored. Paths in messages are
relative.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from loaders import sniff
from loaders.base import LoadError
from loaders.manifest import NAME as MANIFEST

MAX_FILES: Final = 10_000
_SHOWN: Final = 5
_JUNK_FOLDERS: Final = frozenset({"__MACOSX", "__pycache__"})
_ONNX: Final = "isn't supported here: export the model to ONNX"
_UNSUPPORTED: Final = {
    ".pt": f"TorchScript {_ONNX}",
    ".pth": f"PyTorch {_ONNX}",
    ".pt2": f"torch.export {_ONNX}",
    ".ckpt": f"PyTorch {_ONNX}",
    ".h5": f"Keras {_ONNX}",
    ".keras": f"Keras {_ONNX}",
    ".pb": f"TensorFlow's SavedModel {_ONNX}",
    ".tflite": f"TensorFlow Lite {_ONNX}",
    ".mlmodel": f"Core ML {_ONNX}",
    ".pmml": f"PMML {_ONNX}, or save what it was made of",
    ".pdmodel": f"PaddlePaddle {_ONNX}",
    ".safetensors": f"safetensors, which holds weights but no model, {_ONNX}",
    ".gguf": "GGUF isn't supported here: this server doesn't run language models",
    ".cloudpickle": "cloudpickle carries code, and isn't supported here: save it with joblib",
    ".dill": "dill carries code, and isn't supported here: save it with joblib",
}
_MODEL_SUFFIXES: Final = (
    ".joblib",
    ".pkl",
    ".pickle",
    ".onnx",
    ".ubj",
    ".bst",
    "xgboost-model",
    ".lgb",
    ".cbm",
    ".skops",
)


def files(folder: Path) -> list[PurePosixPath]:
    """The files that may be models, relative and sorted; none of ``code/``."""
    return sorted(
        path
        for path in _walk(folder)
        if not (is_code(path) or path.name.startswith(".") or path == PurePosixPath(MANIFEST))
    )


def code_files(folder: Path) -> list[PurePosixPath]:
    """The files of SageMaker's ``code/``, wherever it is, the nearest first."""
    return sorted(filter(is_code, _walk(folder)), key=lambda path: (path.parts.index("code"), path))


def is_code(path: PurePosixPath) -> bool:
    return "code" in path.parts[:-1]


def _walk(folder: Path) -> Iterator[PurePosixPath]:
    """Every file but junk; hidden folders are left out, hidden files of ``code/`` are not."""
    count = 0
    for where, folders, names in os.walk(folder):
        folders[:] = [d for d in folders if d not in _JUNK_FOLDERS and not d.startswith(".")]
        inside = PurePosixPath(Path(where).relative_to(folder).as_posix())
        for name in names:
            count += 1
            if count > MAX_FILES:
                raise LoadError(f"the artifact has more than {MAX_FILES} files")
            if name != ".DS_Store" and not name.startswith("._"):
                yield inside / name


def real_path(folder: Path, path: PurePosixPath) -> Path:
    """Where a file of the artifact really is; raises LoadError where links lead out."""
    try:
        real = (folder / path).resolve()
    except RuntimeError:  # a link to itself
        raise LoadError(f"{path} is a link that leads nowhere") from None
    if not real.is_relative_to(folder.resolve()):
        raise LoadError(f"{path} leads out of the artifact")
    if not real.is_file():
        raise LoadError(f"{path} isn't a file of the artifact")
    return real


def head_of(folder: Path, path: PurePosixPath) -> bytes:
    """The first bytes of a file that must be inside the folder, links followed."""
    with real_path(folder, path).open("rb") as file:
        return file.read(sniff.HEAD_BYTES)


def find_model(
    folder: Path, recognises: Callable[[Path, bytes], str | None]
) -> tuple[PurePosixPath, str]:
    """The one model file and its format; raises LoadError where there isn't exactly one."""
    candidates = files(folder)
    if not candidates:
        raise LoadError("there is no model inside: the artifact holds no files")
    kinds: dict[PurePosixPath, str] = {}
    heads: dict[PurePosixPath, bytes] = {}
    for path in candidates:
        heads[path] = head_of(folder, path)
        kind = recognises(folder / path, heads[path])
        if kind is not None:
            kinds[path] = kind
    # what is named like a model counts as one, so that a broken one isn't passed over
    named = [path for path in candidates if path.name.lower().endswith(_MODEL_SUFFIXES)]
    models = _each_once(folder, [*kinds, *named])
    if len(models) > 1:
        raise LoadError(
            f"there are several models inside ({_list(sorted(models))}): "
            f'name one in {MANIFEST}, as "entry"'
        )
    if not models:
        raise _nothing(candidates, heads)
    (model,) = models
    if model not in kinds:
        raise LoadError(f"{model} isn't a model: it is {sniff.describe(heads[model])}")
    return model, kinds[model]


def _each_once(folder: Path, paths: list[PurePosixPath]) -> list[PurePosixPath]:
    """One name of every file: a link to a model is no second model."""
    files_seen: dict[tuple[int, int], PurePosixPath] = {}
    for path in paths:
        found = (folder / path).stat()
        files_seen.setdefault((found.st_dev, found.st_ino), path)
    return list(files_seen.values())


def _nothing(candidates: list[PurePosixPath], heads: dict[PurePosixPath, bytes]) -> LoadError:
    for path in candidates:
        why = unsupported(path)
        if why is not None:
            return LoadError(why)
    if len(candidates) == 1:
        what = sniff.describe(heads[candidates[0]])
        return LoadError(f"there is no model inside: {candidates[0]} is {what}")
    return LoadError(f"there is no model inside, only {_list(candidates)}")


def unsupported(path: PurePosixPath) -> str | None:
    """Why a format that is known by its name isn't served."""
    why = _UNSUPPORTED.get(path.suffix.lower())
    return None if why is None else f"{path}: {why}"


def _list(paths: list[PurePosixPath]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(str(p) for p in paths[:_SHOWN]) + more
