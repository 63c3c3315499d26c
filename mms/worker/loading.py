"""The load slot: one load at a time, and unloads beside it, each in a thread of its own.

A model's size is what the heap grew by, with the garbage of its load collected. The garbage
collector is off during a load, and what a load leaves is frozen, so that no later collection walks
through thousands of models. UNLOADED is said only once the memory is given back. A failed load
leaves nothing behind, and no message holds a traceback or a path.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

from mms.errors import MmsError
from mms.fleet import payloads, wire
from mms.fleet.wire import Message
from mms.types import Loaded
from mms.worker import heap
from mms.worker.executor import Executor
from mms.worker.outbox import Outbox

LoadModel = Callable[[Path, dict[str, Any]], Any]

MIN_BYTES: Final = 1024
_TRIM_BYTES: Final = 1 << 20  # less than this freed isn't worth the milliseconds of a trim
# So much not come back: look for cycles among what is frozen. It dirties every page that is shared
# with the other workers, some 50 MB.
_LEAK_BYTES: Final = 32 << 20


class LoadSlot:
    def __init__(self, load_model: LoadModel, executor: Executor, outbox: Outbox) -> None:
        self._load_model = load_model
        self._executor = executor
        self._outbox = outbox
        self._sizes: dict[int, int] = {}
        self._exact: set[int] = set()  # models whose size was measured while nothing else happened
        self._loads: SimpleQueue[Message] = SimpleQueue()
        self._unloads: SimpleQueue[Message] = SimpleQueue()
        self._unloaded_bytes = 0  # ever: a load subtracts what went during it
        self._loading = False
        self._begun = 0  # loads, ever
        self._books = threading.Lock()  # so that the heap and what was unloaded are of one moment
        self._untrimmed = self._missing = 0
        for work, name in ((self._load_all, "mms-load"), (self._unload_all, "mms-unload")):
            threading.Thread(target=work, name=name, daemon=True).start()

    def load(self, message: Message) -> None:
        self._loads.put(message)

    def unload(self, message: Message) -> None:
        self._unloads.put(message)

    def _load_all(self) -> None:
        while True:
            message = self._loads.get()
            self._loading = True
            self._begun += 1
            gc.disable()
            kind, payload = self._try(payloads.decode_load(message.payload))
            if kind == wire.FAILED:  # by now nobody holds the exception, nor what its frames held
                gc.collect()
                heap.trim()
            gc.enable()
            self._loading = False
            self._outbox.post(kind, message.id, [payload])

    def _try(self, request: payloads.LoadRequest) -> tuple[int, bytes]:
        try:
            return wire.LOADED, self._load(request)
        except BaseException as error:  # noqa: BLE001 - SystemExit too: user code runs here
            return wire.FAILED, payloads.encode_failed(*describe(error, request.path))

    def _load(self, request: payloads.LoadRequest) -> bytes:
        idle_since, (used, unloaded) = self._executor.idle_since, self._balance()
        begun = time.perf_counter()
        model = self._load_model(request.path, request.options)
        load_s = time.perf_counter() - begun
        gc.collect()
        used_now, unloaded_now = self._balance()
        grown = used_now - used + unloaded_now - unloaded
        undisturbed = unloaded_now == unloaded and self._executor.idle_since == idle_since
        if undisturbed and idle_since is not None:
            self._exact.add(request.model_id)
        loaded = Loaded(
            format=model.format,
            bytes=max(MIN_BYTES, grown),
            methods=tuple(model.methods),
            batchable=model.batchable,
            signature=_plain(model.signature),
            load_s=load_s,
            keeps_files=bool(getattr(model, "keeps_files", False)),
        )
        payload = payloads.encode_loaded(loaded)
        self._sizes[request.model_id] = loaded.bytes
        self._executor.add(request.model_id, model)
        gc.freeze()
        return payload

    def _unload_all(self) -> None:
        while True:
            messages = [self._unloads.get()]
            while True:  # those that came meanwhile share one trim
                try:
                    messages.append(self._unloads.get_nowait())
                except Empty:
                    break
            self._unload([payloads.decode_id(message.payload) for message in messages])
            for message in messages:
                self._outbox.post(wire.UNLOADED, message.id)

    def _balance(self) -> tuple[int, int]:
        """What the heap holds, and what was ever unloaded."""
        with self._books:
            return heap.used_bytes(), self._unloaded_bytes

    def _quiet(self) -> tuple[int, int] | None:
        """The same twice: meanwhile nothing was loaded or run, and the heap was ours alone."""
        idle_since = self._executor.idle_since
        return None if self._loading or idle_since is None else (self._begun, idle_since)

    def _unload(self, model_ids: list[int]) -> None:
        expected = self._remove(model_ids)
        if self._missing >= _LEAK_BYTES:
            self._missing = 0
            gc.unfreeze()
            gc.collect()
            gc.freeze()
            self._untrimmed += _TRIM_BYTES
        self._untrimmed += expected
        if self._untrimmed >= _TRIM_BYTES:
            self._untrimmed = 0
            heap.trim()

    def _remove(self, model_ids: list[int]) -> int:
        """Let models go; what they were measured to take."""
        quiet, is_exact = self._quiet(), self._exact.issuperset(model_ids)
        with self._books:
            before, expected = heap.used_bytes(), 0
            for model_id in model_ids:
                self._executor.remove(model_id)
                self._exact.discard(model_id)
                expected += self._sizes.pop(model_id, 0)
            after = heap.used_bytes()
            self._unloaded_bytes += expected
        if is_exact and quiet is not None and quiet == self._quiet():  # else it says nothing
            self._missing += max(0, expected - (before - after))
        return expected


def describe(error: BaseException, path: Path) -> tuple[str, str]:
    """The public code and message of a load that failed."""
    if isinstance(error, MmsError):
        return error.code, error.message
    if isinstance(error, MemoryError):
        return "InsufficientStorage", "out of memory while loading the model"
    lines = str(error).strip().splitlines()
    text = (lines[0] if lines else "").replace(f"{path}/", "").replace(str(path), "the artifact")
    name = type(error).__name__
    return "ModelLoadError", f"{name}: {text}" if text else name


def _plain(signature: Any) -> dict[str, object]:
    return asdict(signature) if is_dataclass(signature) else dict(signature)  # type: ignore[arg-type]
