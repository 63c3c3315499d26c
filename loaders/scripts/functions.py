"""The functions that a script has, and how each is called: with the context, if it wants it.

Which arguments a function takes is looked at once, at the load, so that a script that can't be
called is refused before it has cost a request.
"""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any, Final

from loaders.base import LoadError
from loaders.scripts import defaults
from loaders.scripts.context import Context

_ARGUMENTS: Final = {  # beside the context
    "pre_model_fn": 1,
    "model_fn": 1,
    "model_warmup_fn": 2,
    "input_fn": 2,
    "predict_fn": 2,
    "output_fn": 2,
    "transform_fn": 4,
}


class Function:
    """A function of the script, called with the context if it takes one more argument."""

    def __init__(self, name: str, function: Any) -> None:
        if not callable(function):
            raise LoadError(f"{name} in the script isn't a function")
        call = getattr(function, "__call__", function)  # noqa: B004 - an object may be a coroutine
        for part in (function, call):
            if inspect.iscoroutinefunction(part) or inspect.isasyncgenfunction(part):
                raise LoadError(f"{name} is async, which isn't possible: make it a plain function")
        self._function = function
        self._takes_context = _takes_context(name, function, _ARGUMENTS[name])

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


def functions_of(module: ModuleType) -> dict[str, Function]:
    """All that will be called, by name: the script's own and the defaults; raises LoadError."""
    found = {
        name: Function(name, getattr(module, name))
        for name in _ARGUMENTS
        if getattr(module, name, None) is not None
    }
    others = [n for n in ("input_fn", "predict_fn", "output_fn") if n in found]
    if "transform_fn" in found and others:
        raise LoadError(
            f"the script has transform_fn, so it can't have {', '.join(others)} too: keep either"
        )
    for name in ("input_fn", "predict_fn", "output_fn"):
        found.setdefault(name, Function(name, getattr(defaults, name)))
    return found
