"""Opening a session of ONNX Runtime, with no more threads and memory than it should have.

One thread a session unless the artifact asks for more: the workers are the parallelism, and a
thousand sessions have no threads of their own. The runtime can share one pool among sessions, but
only among all of a process, one-threaded ones too. So those that ask for more have their own,
bounded for each and for all. A provider that isn't here or can't start is one line in the log.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import weakref
from pathlib import Path
from typing import Any, Final

from loaders.onnx.options import CPU, LEVELS, SessionPlan, cores

_log = logging.getLogger("mms.loaders")

_FOLDED_BYTES: Final = 64 << 20
_FOLDED_RATIO: Final = 4
_SMALL_BYTES: Final = 1 << 20
_QUANTIZED: Final = b"QuantizeLinear"  # the end of the names of all operators that it is done by


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


_share = ThreadShare(4 * cores())


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
    settings.graph_optimization_level = getattr(ort.GraphOptimizationLevel, LEVELS[plan.level])
    # Else a name that ends in .ort makes it a flatbuffer, a format that isn't looked at here.
    settings.add_session_config_entry("session.load_model_format", "ONNX")
    # Else a file of a hundred bytes may unfold to gigabytes of constants.
    most = max(_FOLDED_BYTES, _FOLDED_RATIO * artifact_bytes)
    settings.add_session_config_entry(
        "optimization.constant_folding_max_output_size_in_bytes", str(most)
    )
    if _is_small_and_plain(path):
        # Else each session keeps what would rewrite a quantised model: 18 of its 72 kB.
        settings.add_session_config_entry("session.disable_quant_qdq", "1")
    here = set(ort.get_available_providers())
    wanted = [pair for pair in plan.providers if pair[0] in here and pair[0] != CPU]
    if wanted:
        with contextlib.suppress(Exception):  # a device that isn't there, a library that is too old
            return _made(path, settings, [*wanted, CPU])
    return _made(path, settings, [CPU])


def _is_small_and_plain(path: Path) -> bool:
    """Surely without quantised parts; of a large file it isn't worth knowing."""
    return path.stat().st_size <= _SMALL_BYTES and _QUANTIZED not in path.read_bytes()


def _made(path: Path, settings: Any, providers: list[Any]) -> Any:
    import onnxruntime as ort  # as above

    # No second try by the runtime itself, which prints what it does; no settings from the file.
    return ort.InferenceSession(
        str(path), settings, providers=providers, enable_fallback=0, read_config_from_model=0
    )


def _tell_what_is_missing(plan: SessionPlan, threads: int, providers: list[str]) -> None:
    missing = [name for name, _ in plan.providers if name not in providers]
    if missing:
        _log.warning(
            "a provider isn't available, the model runs without it",
            extra={"missing": ", ".join(missing), "providers": ", ".join(providers)},
        )
    if threads < plan.threads:
        _log.warning(
            "a model gets fewer threads than it asks for, as other models have them",
            extra={"wanted": plan.threads, "threads": threads},
        )
