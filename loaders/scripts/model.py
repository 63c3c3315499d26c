"""A model that is answered by its own script: SageMaker's ``code/inference.py``.

``model_fn``, ``input_fn``, ``predict_fn`` and ``output_fn``, or ``transform_fn`` instead of the
last three; what a script leaves out is as in AWS's scikit-learn container (``defaults``).
Only ever called where the operator trusts the prefix. What a script raises at the load is a
``LoadError`` with its type and first line, whatever it is.
"""

from __future__ import annotations

import inspect
import logging
import os
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Final, NoReturn

from loaders.base import Batch, InputError, LoadError, Outputs, Payload, Signature
from loaders.scripts import defaults
from loaders.scripts.context import Context
from loaders.scripts.doors import at_work_for
from loaders.scripts.modules import ModelCode, public
from loaders.scripts.place import Script
from loaders.scripts.requirements import check, listed

ARGUMENTS: Final = {  # beside the context
    "pre_model_fn": 1,
    "model_fn": 1,
    "model_warmup_fn": 2,
    "input_fn": 2,
    "predict_fn": 2,
    "output_fn": 2,
    "transform_fn": 4,
}
_MAX_TYPE: Final = 256
_LOG: Final = logging.getLogger("mms.loaders")


class ScriptError(Exception):
    """The script itself says no to a request, with a status of its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Unreadable(Exception):
    """The script reads no such content type."""


class Unwritable(Exception):
    """The script writes no such content type."""


class _Handler:
    """A function of the script, called with the context if it takes one more argument."""

    def __init__(self, name: str, function: Any) -> None:
        if not callable(function):
            raise LoadError(f"{name} in the script isn't a function")
        call = getattr(function, "__call__", function)  # noqa: B004 - an object may be a coroutine
        for part in (function, call):
            if inspect.iscoroutinefunction(part) or inspect.isasyncgenfunction(part):
                raise LoadError(f"{name} is async, which isn't possible: make it a plain function")
        self._function = function
        self._takes_context = _takes_context(name, function, ARGUMENTS[name])

    def __call__(self, context: Context, *arguments: Any) -> Any:
        if self._takes_context:
            return self._function(*arguments, context)
        return self._function(*arguments)


def _takes_context(name: str, function: Any, count: int) -> bool:
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):  # a compiled function that doesn't say
        return False
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    named = [p for p in signature.parameters.values() if p.kind in kinds]
    for given in (count + 1, count) if len(named) == count + 1 else (count,):
        try:
            signature.bind(*[None] * given)
        except TypeError:
            continue
        return given > count
    raise LoadError(
        f"{name} takes {len(named)} arguments: it is called with {count}, or {count + 1} where "
        "it wants the context too"
    )


class ScriptModel:
    """A loaded model and the functions that answer for it. Used by one thread at a time."""

    format = "script"
    methods: tuple[str, ...] = ("predict",)
    batchable = False
    keeps_files = True  # a script may open files of its artifact at any request
    signature = Signature()

    def __init__(
        self, script: Script, code: ModelCode, functions: dict[str, _Handler], model: Any
    ) -> None:
        self._script = script
        self._code = code
        self._functions = functions
        self._model = model

    def prepare(self, payload: Payload) -> Batch:
        del payload
        raise InputError("this model is answered by its own script, not from rows")

    def run(self, method: str, batch: Batch) -> Outputs:
        del method, batch
        raise InputError("this model is answered by its own script, not from rows")

    def answer_raw(
        self, body: bytes | str, content_type: str, accept: str, headers: Mapping[str, str]
    ) -> tuple[bytes, str]:
        """The body and type of the answer to one request; ``body`` is str for JSON and CSV.

        Raises InputError, Unreadable, Unwritable, ScriptError, or whatever the script does.
        """
        context = Context(str(self._script.folder), headers)
        with at_work_for(self._code):
            if "transform_fn" in self._functions:
                result = self._functions["transform_fn"](
                    context, self._model, body, content_type, accept
                )
            else:
                result = self._steps(context, body, content_type, accept)
            return _written(result, accept, context)

    def _steps(self, context: Context, body: bytes | str, content_type: str, accept: str) -> Any:
        functions = self._functions
        try:
            data = functions["input_fn"](context, body, content_type)
        except Exception as error:
            _raise_if_format(error, Unreadable)
            raise
        prediction = functions["predict_fn"](context, data, self._model)
        try:
            return functions["output_fn"](context, prediction, accept)
        except Exception as error:
            _raise_if_format(error, Unwritable)
            raise


def _raise_if_format(error: Exception, kind: type[Exception]) -> None:
    """By their names: the toolkits' own error of that name need not be installed here."""
    if type(error).__name__ in {"UnsupportedFormat", "UnsupportedFormatError"}:
        raise kind(" ".join(str(error).split())) from error


# --- Loading ---


def load_script(script: Script, fallback: Callable[[], Any]) -> ScriptModel:
    """Load the model by its script; ``fallback`` loads it where the script has no ``model_fn``.

    Raises LoadError, MemoryError.
    """
    _check_requirements(script)
    code = ModelCode(script.code, script.folder)
    try:
        with at_work_for(code), _process_kept(code):
            functions = _functions(_imported(script, code))
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


def _functions(module: ModuleType) -> dict[str, _Handler]:
    found = {
        name: _Handler(name, getattr(module, name))
        for name in ARGUMENTS
        if getattr(module, name, None) is not None
    }
    others = [n for n in ("input_fn", "predict_fn", "output_fn") if n in found]
    if "transform_fn" in found and others:
        raise LoadError(
            f"the script has transform_fn, so it can't have {', '.join(others)} too: keep either"
        )
    for name in ("input_fn", "predict_fn", "output_fn"):
        found.setdefault(name, _Handler(name, getattr(defaults, name)))
    return found


def _model(script: Script, functions: dict[str, _Handler], fallback: Callable[[], Any]) -> Any:
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


def _run(name: str, functions: dict[str, _Handler], context: Context, *arguments: Any) -> Any:
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


# --- Answers ---


def _written(result: Any, accept: str, context: Context) -> tuple[bytes, str]:
    status, phrase = context.response_status
    body, content_type = _body_and_type(result, context.response_type or accept)
    status = getattr(result, "status_code", status)
    if type(status) is int and status >= 400:
        raise ScriptError(status, phrase or bytes(_bytes(body)).decode("utf-8", "replace"))
    return _bytes(_encoded(body, content_type)), _checked_type(content_type)


def _body_and_type(result: Any, accept: str) -> tuple[Any, str]:
    """Whatever shape a script gives its answer."""
    if isinstance(result, tuple) and len(result) in {2, 3} and isinstance(result[1], str):
        return result[0], result[1]
    if hasattr(result, "response") and hasattr(result, "mimetype"):  # worker.Response, Flask's
        get_data = getattr(result, "get_data", None)
        return (get_data() if callable(get_data) else result.response), result.mimetype or accept
    return result, accept


def _encoded(body: Any, content_type: str) -> Any:
    """What isn't written yet is written as the default ``output_fn`` does."""
    if isinstance(body, (bytes, bytearray, memoryview, str)):
        return body
    if body is None:
        raise TypeError("the script answered None: return a body, or a body and its content type")
    try:
        return defaults.encode(body, content_type)
    except defaults.UnsupportedFormat as error:
        raise Unwritable(str(error)) from error


def _bytes(body: Any) -> bytes:
    return body.encode() if isinstance(body, str) else bytes(body)


def _checked_type(content_type: Any) -> str:
    text = content_type if isinstance(content_type, str) else ""
    if 0 < len(text) <= _MAX_TYPE and text.isascii() and text.isprintable():
        return text
    raise TypeError("the script answered with a content type that can't be sent")
