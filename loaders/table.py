"""The table of loaders, and the one way to load an artifact.

Names to modules, imported when first needed; the entry-point group ``mms.loaders`` adds to it
(``name = "package.module:Class"``). :func:`load_model` does it all: manifest, finding the file,
recognising, holding it against its digests and versions, its script's part. Holds no framework and
no state but the loaders that were imported.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any, Final

from loaders import sniff
from loaders.base import Loader, LoadError, LoadOptions, Model
from loaders.digests import verify
from loaders.environment import demand_fit, relevant
from loaders.folder import find_model, head_of, unsupported
from loaders.manifest import Manifest, read_manifest
from loaders.scripts.place import Script, find_script
from loaders.versions import versions_of

GROUP: Final = "mms.loaders"
TABLE: Final = {
    "onnx": "loaders.onnx.loader:OnnxLoader",
    "xgboost": "loaders.boosting.xgboost:XGBoostLoader",
    "lightgbm": "loaders.boosting.lightgbm:LightGbmLoader",
    "catboost": "loaders.boosting.catboost:CatBoostLoader",
    "skops": "loaders.sklearn.skops:SkopsLoader",
    "sklearn": "loaders.sklearn.joblib:JoblibLoader",
}
_ALIASES: Final = {"joblib": "sklearn", "pickle": "sklearn", "scikit-learn": "sklearn"}
_NEEDS: Final = {
    "onnx": "onnxruntime",
    "sklearn": "sklearn",
    "xgboost": "xgboost",
    "lightgbm": "lightgbm",
    "catboost": "catboost",
    "skops": "skops",
}
_EXTRAS: Final = frozenset({"xgboost", "lightgbm", "catboost", "skops"})

# The lightest first: a worker that is forked early is missing only what is rarely used.
_PRELOAD: Final = (
    "numpy",
    "onnxruntime",
    "loaders.onnx.loader",
    "joblib",
    "loaders.sklearn.joblib",
    "pandas",
    "sklearn",
    "sklearn.linear_model",
    "sklearn.pipeline",
    "sklearn.ensemble",
)


@cache
def _added() -> dict[str, str]:
    try:
        points: Any = entry_points(group=GROUP)
    except TypeError:  # Python 3.9 knows no arguments, and gives a dict
        everything: Any = entry_points()
        points = everything.get(GROUP, ())
    return {point.name: point.value for point in points}


def formats() -> tuple[str, ...]:
    """The names of all formats there are loaders for, installed or not."""
    return (*TABLE, *(name for name in sorted(_added()) if name not in TABLE))


def loader(name: str) -> Loader:
    """The loader of that name; raises LoadError saying whether it or its framework is missing."""
    name = _ALIASES.get(name, name)
    made = _made(name)
    if name in _NEEDS and not _is_installed(_NEEDS[name]):
        raise _missing(name, _NEEDS[name])
    return made


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ValueError:  # it was tried, and blocked or broken
        return False


def _missing(name: str, module: str) -> LoadError:
    what = f"format {name} needs {module}, which isn't installed here"
    if name in _EXTRAS:
        what = f"{what}: pip install 'mms-server[{name}]'"
    return LoadError(what, needs=module)


@cache
def _made(name: str) -> Loader:
    """The loader itself: our own can recognise files without their frameworks."""
    where = TABLE.get(name) or _added().get(name)
    if where is None:
        raise LoadError(f"there is no loader for format {name!r}, only for {', '.join(formats())}")
    module, _, attribute = where.partition(":")
    try:
        made: Loader = getattr(import_module(module), attribute)()
    except ImportError as error:
        what = error.name or module
        raise _missing(name, what) from error
    return made


def preload_modules() -> list[str]:
    """What a zygote imports before it forks workers, the lightest loaders first."""
    roots = ((module, module.partition(".")[0]) for module in _PRELOAD)
    return [module for module, root in roots if find_spec(root) is not None]


def load_model(folder: Path, options: LoadOptions) -> Model:
    """Load the model that is in ``folder``; raises LoadError, OtherEnvironment, MemoryError."""
    manifest = read_manifest(folder)
    options = replace(
        options,
        method=manifest.method or options.method,
        batchable=options.batchable if manifest.batchable is None else manifest.batchable,
        options={**options.options, **manifest.options},
    )
    try:
        script = find_script(folder, options)
        if script is None:
            model = _load_file(folder, manifest, options)
        else:
            model = _load_script(script, folder, manifest, options)
    except OSError as error:
        raise LoadError(f"the artifact can't be read: {error.strerror}") from error
    if manifest.signature is not None:
        model.signature = manifest.signature
    return model


def _load_file(folder: Path, manifest: Manifest, options: LoadOptions) -> Model:
    """The one model file, by its loader."""
    path, kind = model_file(folder, manifest)
    verify(folder, manifest.files, path)
    return _matched(folder / path, kind, manifest, options)


def model_file(folder: Path, manifest: Manifest) -> tuple[PurePosixPath, str]:
    """The one model file and its format; raises LoadError where it can't be told."""
    if manifest.entry is not None:
        return _named(folder, manifest.entry, manifest)
    return _found(folder, manifest)


def _load_script(script: Script, folder: Path, manifest: Manifest, options: LoadOptions) -> Model:
    """What the script makes of the folder, in the environment that its model file needs."""
    from loaders.scripts.load import load_script  # rarely needed

    verify(folder, manifest.files, script.below(folder))
    demand_fit(_script_needs(folder, manifest), options.env_match, options.environments)
    return load_script(script, lambda: _load_file(folder, manifest, options))


def _script_needs(folder: Path, manifest: Manifest) -> dict[str, str]:
    """Versions by the manifest, and by the model file where there is just one that tells."""
    try:
        path, kind = model_file(folder, manifest)
    except LoadError:  # which files to load, and how, is the script's business
        return versions_of(None, manifest)
    return relevant(versions_of(folder / path, manifest), kind)


def _matched(path: Path, kind: str, manifest: Manifest, options: LoadOptions) -> Model:
    """Load a model if the versions here are those it needs; before the loader is even imported."""
    policy, environments = options.env_match, options.environments
    if policy == "off":
        return loader(kind).load(path, options)
    needs = relevant(versions_of(path, manifest), kind)
    demand_fit(needs, policy, environments)
    is_known = "scikit-learn" in needs  # else the loader looks at what the load shows
    try:
        return loader(kind).load(path, replace(options, env_match="off") if is_known else options)
    except LoadError:
        if not is_known:  # it may be why: worth a look at the whole file now
            demand_fit(
                relevant(versions_of(path, manifest, thoroughly=True), kind), policy, environments
            )
        raise


def _named(folder: Path, entry: PurePosixPath, manifest: Manifest) -> tuple[PurePosixPath, str]:
    head = head_of(folder, entry)
    kind = _recognise(folder / entry, head, manifest.format)
    if kind is None:
        what = unsupported(entry) or f"{entry} isn't a model: it is {sniff.describe(head)}"
        raise LoadError(what)
    return entry, kind


def _found(folder: Path, manifest: Manifest) -> tuple[PurePosixPath, str]:
    wanted = manifest.format
    if wanted is not None:
        loader(wanted)  # no such loader: say so before "no model inside"
    return find_model(folder, lambda path, head: _recognise(path, head, wanted))


def _recognise(path: Path, head: bytes, wanted: str | None) -> str | None:
    """The format of a file by its content and name; only ``wanted`` where that is given."""
    for name in formats() if wanted is None else (_ALIASES.get(wanted, wanted),):
        try:
            candidate = _made(name)
        except LoadError:
            if wanted is not None:
                raise
            continue  # an added loader whose framework isn't here can't tell its files
        if candidate.recognises(path, head):
            return name
    return None
