"""What a manifest's options ask of ONNX Runtime, checked: providers, threads, optimisation.

An artifact's options are hostile like the rest of it: some of the providers' options name libraries
to load or files to write, so few are allowed unless the artifact is trusted. What isn't known is
refused, never ignored. Opens no session.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from loaders.base import LoadError, LoadOptions
from loaders.rows.cells import shown

CPU: Final = "CPUExecutionProvider"
_REMOTE: Final = "AzureExecutionProvider"  # sends what it is given to another machine
_SAFE_OPTIONS: Final = {
    CPU: frozenset[str](),
    "CUDAExecutionProvider": frozenset(
        {
            "arena_extend_strategy",
            "cudnn_conv_algo_search",
            "cudnn_conv_use_max_workspace",
            "device_id",
            "do_copy_in_default_stream",
            "gpu_mem_limit",
            "prefer_nhwc",
            "use_tf32",
        }
    ),
}
_SAFE_ELSEWHERE: Final = frozenset({"device_id"})
LEVELS: Final = {
    "disabled": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
_KNOWN: Final = ("providers", "intra_op_num_threads", "graph_optimization_level")
_WHERE: Final = "manifest.json: 'options"

Provider = tuple[str, dict[str, str]]


@dataclass(frozen=True)
class SessionPlan:
    """What the artifact asks for, checked."""

    providers: tuple[Provider, ...] = ()
    threads: int = 1
    level: str = "all"


def plan_of(options: LoadOptions) -> SessionPlan:
    """Read the loader's own options; raises LoadError for what isn't known or allowed."""
    given: Mapping[str, Any] = options.options
    for key in given:
        if key not in _KNOWN:
            known = ", ".join(_KNOWN)
            raise LoadError(f"{_WHERE}' has no {shown(key)} for ONNX models, only {known}")
    return SessionPlan(
        providers=_providers(given.get("providers"), trusted=options.trusted),
        threads=_threads(given.get("intra_op_num_threads")),
        level=_level(given.get("graph_optimization_level")),
    )


def _level(name: Any) -> str:
    if name is None:
        return "all"
    if not isinstance(name, str) or name not in LEVELS:
        raise LoadError(f"{_WHERE}.graph_optimization_level' must be one of {', '.join(LEVELS)}")
    return name


def _threads(count: Any) -> int:
    if count is None:
        return 1
    if type(count) is not int or count < 1:
        raise LoadError(f"{_WHERE}.intra_op_num_threads' must be a whole number from 1")
    return min(count, cores())


def cores() -> int:
    return len(os.sched_getaffinity(0))


# --- Providers ---


def _providers(entries: Any, *, trusted: bool) -> tuple[Provider, ...]:
    if entries is None:
        return ()
    if not isinstance(entries, list):
        raise LoadError(f"{_WHERE}.providers' must be an array of names or [name, options] pairs")
    import onnxruntime as ort  # the file is an ONNX model, and here its runtime is needed

    known = set(ort.get_all_providers()) - {_REMOTE}
    here = ", ".join(name for name in ort.get_available_providers() if name != _REMOTE)
    found: dict[str, dict[str, str]] = {}
    for entry in entries:
        name, options = _pair(entry)
        if name not in known:
            raise LoadError(f"{_WHERE}.providers': there is no {shown(name)}, only {here}")
        found.setdefault(name, _provider_options(name, options, trusted=trusted))
    return tuple(found.items())


def _pair(entry: Any) -> tuple[str, dict[str, Any]]:
    name, options = entry if isinstance(entry, list) and len(entry) == 2 else (entry, {})
    if isinstance(name, str) and isinstance(options, dict):
        return name, options
    raise LoadError(f"{_WHERE}.providers' must hold names or [name, options] pairs")


def _provider_options(name: str, options: dict[str, Any], *, trusted: bool) -> dict[str, str]:
    for key, value in options.items():
        if not isinstance(value, (str, int, float)):
            raise LoadError(f"{_WHERE}.providers': {shown(key)} of {name} must be one value")
        if not trusted and key not in _SAFE_OPTIONS.get(name, _SAFE_ELSEWHERE):
            raise LoadError(
                f"{_WHERE}.providers': {shown(key)} of {name} is only for artifacts that are "
                "trusted (MMS_TRUST=all)"
            )
    return {key: str(value) for key, value in options.items()}
