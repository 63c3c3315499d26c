"""Opening a session of ONNX Runtime: providers, threads, optimisation, by the manifest's options.

One thread a session unless the artifact asks for more: the workers are the parallelism, and a
thousand sessions have no threads of their own. The runtime can share one pool among sessions, but
only among all of a process, one-threaded ones too. So those that ask for more have their own,
bounded for each and for all. An artifact's options are checked like the rest of it: some of the
providers' options name libraries to load or files to write.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from loaders.base import LoadError, LoadOptions
from loaders.cells import shown

_log = logging.getLogger("mms.loaders")

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
_LEVELS: Final = {
    "disabled": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
_KNOWN: Final = ("providers", "intra_op_num_threads", "graph_optimization_level")
_FOLDED_BYTES: Final = 64 << 20
_FOLDED_RATIO: Final = 4
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
    if not isinstance(name, str) or name not in _LEVELS:
        raise LoadError(f"{_WHERE}.graph_optimization_level' must be one of {', '.join(_LEVELS)}")
    return name


def _threads(count: Any) -> int:
    if count is None:
        return 1
    if type(count) is not int or count < 1:
        raise LoadError(f"{_WHERE}.intra_op_num_threads' must be a whole number from 1")
    return min(count, _cores())


def _cores() -> int:
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


# --- Threads ---


class ThreadShare:
    """How many threads the sessions of this process have beyond the one that calls them."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._lock = threading.Lock()

    def take(self, wanted: int) -> int:
        """As many as there are, up to ``wanted``."""
        with self._lock:
            taken = min(wanted, self._left)
            self._left -= taken
            return taken

    def give_back(self, count: int) -> None:
        with self._lock:
            self._left += count


_share = ThreadShare(4 * _cores())


# --- The session ---


def open_session(path: Path, plan: SessionPlan, artifact_bytes: int) -> Any:
    """A session of the file; raises whatever the runtime does."""
    extra = _share.take(plan.threads - 1)
    try:
        session = _opened(path, plan, 1 + extra, artifact_bytes)
    except BaseException:
        _share.give_back(extra)
        raise
    if extra:
        weakref.finalize(session, _share.give_back, extra)
    _tell_what_is_missing(plan, 1 + extra, session.get_providers())
    return session


def _opened(path: Path, plan: SessionPlan, threads: int, artifact_bytes: int) -> Any:
    import onnxruntime as ort  # imported by the first ONNX model, or by the zygote

    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.enable_cpu_mem_arena = False
    settings.log_severity_level = 4
    settings.graph_optimization_level = getattr(ort.GraphOptimizationLevel, _LEVELS[plan.level])
    # Else a name that ends in .ort makes it a flatbuffer, a format that isn't looked at here.
    settings.add_session_config_entry("session.load_model_format", "ONNX")
    # Else a file of a hundred bytes may unfold to gigabytes of constants.
    most = max(_FOLDED_BYTES, _FOLDED_RATIO * artifact_bytes)
    settings.add_session_config_entry(
        "optimization.constant_folding_max_output_size_in_bytes", str(most)
    )
    here = set(ort.get_available_providers())
    providers = [pair for pair in plan.providers if pair[0] in here and pair[0] != CPU]
    # No second try by the runtime itself, which prints what it does; no settings from the file.
    return ort.InferenceSession(
        str(path),
        settings,
        providers=[*providers, CPU],
        enable_fallback=0,
        read_config_from_model=0,
    )


def _tell_what_is_missing(plan: SessionPlan, threads: int, providers: list[str]) -> None:
    missing = [name for name, _ in plan.providers if name not in providers]
    if missing:
        _log.warning(
            "a provider isn't available, the model runs on the CPU",
            extra={"missing": ", ".join(missing), "providers": ", ".join(providers)},
        )
    if threads < plan.threads:
        _log.warning(
            "a model gets fewer threads than it asks for, as other models have them",
            extra={"wanted": plan.threads, "threads": threads},
        )
