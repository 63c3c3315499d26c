"""Loading a model by its script: requirements, import, ``model_fn``.

Only ever called where the operator trusts the prefix. What a script raises here is a ``LoadError``
with its type and first line, whatever it is. What it changes for the whole process is put back, as
far as can be.
"""

from __future__ import annotations

import logging
import os
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Final, NoReturn

from loaders.base import LoadError, Payload
from loaders.scripts.context import Context
from loaders.scripts.doors import at_work_for
from loaders.scripts.functions import Function, functions_of
from loaders.scripts.model import ScriptModel
from loaders.scripts.modules import ModelCode, public
from loaders.scripts.place import Script
from loaders.scripts.requirements import check, listed

_LOG: Final = logging.getLogger("mms.loaders")


def load_script(script: Script, fallback: Callable[[], Any]) -> ScriptModel:
    """Load the model by its script; ``fallback`` loads it where the script has no ``model_fn``.

    Raises LoadError, MemoryError.
    """
    _check_requirements(script)
    code = ModelCode(script.code, script.folder)
    try:
        with at_work_for(code), _process_kept(code):
            functions = functions_of(_imported(script, code))
            model = _model(script, functions, fallback)
    except BaseException as error:
        message = _clean(script, str(error)) if isinstance(error, LoadError) else ""
        code.close()
        if message:
            raise LoadError(message) from None
        raise
    loaded = ScriptModel(script, code, functions, model)
    weakref.finalize(loaded, code.close).atexit = False
    return loaded


def _check_requirements(script: Script) -> None:
    unmet, unchecked = check(script.code)
    if unmet:
        raise LoadError(
            f"{listed(unmet)}: nothing is installed at a load, so it has to be there before the "
            "server starts",
            needs="what its script requires",
        )
    if unchecked:
        fields = {"lines": unchecked[:10]}
        _LOG.warning("lines of code/requirements.txt can't be checked", extra=fields)


@contextmanager
def _process_kept(code: ModelCode) -> Iterator[None]:
    """What a script changes for the whole process while it loads, put back as far as can be."""
    paths, here = list(sys.path), os.open(".", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        code.adopt_paths()
        sys.path[:] = paths
        os.fchdir(here)
        os.close(here)


def _imported(script: Script, code: ModelCode) -> ModuleType:
    try:
        return code.import_entry(script.program)
    except (LoadError, MemoryError):
        raise
    except BaseException as error:  # noqa: BLE001 - SystemExit too: a script may do anything
        _refuse(f"code/{script.program} can't be imported", error)


def _model(script: Script, functions: dict[str, Function], fallback: Callable[[], Any]) -> Any:
    context, folder = Context(str(script.folder), {}), str(script.folder)
    if "model_fn" not in functions:
        try:
            return _Predictor.of(fallback())
        except LoadError as error:
            raise LoadError(f"{script.program} has no model_fn, and {error}") from error
    if "pre_model_fn" in functions:
        _run("pre_model_fn", functions, context, folder)
    model = _run("model_fn", functions, context, folder)
    if "model_warmup_fn" in functions:
        _run("model_warmup_fn", functions, context, folder, model)
    return model


def _run(name: str, functions: dict[str, Function], context: Context, *arguments: Any) -> Any:
    try:
        return functions[name](context, *arguments)
    except MemoryError:
        raise
    except BaseException as error:  # noqa: BLE001 - SystemExit too: a script may do anything
        _refuse(f"{name} failed", error)


def _refuse(what: str, error: BaseException) -> NoReturn:
    try:
        lines = str(error).strip().splitlines()
    except Exception:  # noqa: BLE001 - __str__ may be the script's too
        lines = []
    text = f"{type(error).__name__}: {lines[0][:500]}" if lines else type(error).__name__
    raise LoadError(f"{what}: {text}") from error


def _clean(script: Script, message: str) -> str:
    """Without the folders of this machine and the modules' private names."""
    for folder in (script.folder, script.code):
        message = message.replace(f"{folder}/", "").replace(str(folder), "the artifact")
    return public(message)


class _Predictor:
    """One of our own models as scripts know models: ``predict`` of an array gives an array."""

    def __init__(self, model: Any) -> None:
        self._model = model

    @classmethod
    def of(cls, model: Any) -> Any:
        """scikit-learn's own estimator, which needs no wrapping, or one of these."""
        estimator = getattr(model, "estimator", None)
        return cls(model) if estimator is None else estimator

    def predict(self, data: Any) -> Any:
        payload = Payload(form="instances", rows=data.tolist())
        outputs = self._model.run(self._model.methods[0], self._model.prepare(payload))
        arrays = list(outputs.arrays.values())
        return arrays[0] if len(arrays) == 1 else outputs.arrays
