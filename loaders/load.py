"""The one way to load an artifact: its manifest, its script or its one model file, its loader.

Before a loader sees the file, it is held against the manifest's digests, and the versions that it
was saved by against those that are here. Knows no framework.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath

from loaders import sniff
from loaders.base import LoadError, LoadOptions, Model
from loaders.digests import verify
from loaders.environment import demand_fit, relevant
from loaders.folder import find_model, head_of, unsupported
from loaders.manifest import Manifest, read_manifest
from loaders.scripts.place import Script, find_script
from loaders.table import loader, recognise
from loaders.versions import versions_of


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
    kind = recognise(folder / entry, head, manifest.format)
    if kind is None:
        what = unsupported(entry) or f"{entry} isn't a model: it is {sniff.describe(head)}"
        raise LoadError(what)
    return entry, kind


def _found(folder: Path, manifest: Manifest) -> tuple[PurePosixPath, str]:
    wanted = manifest.format
    if wanted is not None:
        loader(wanted)  # no such loader: say so before "no model inside"
    return find_model(folder, lambda path, head: recognise(path, head, wanted))
