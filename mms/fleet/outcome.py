"""What comes of work given to a worker, and the words for how a worker ends. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mms.errors import ServiceUnavailable
from mms.fleet.payloads import Reply

LostReason = Literal["crashed", "killed", "oom", "hung", "timeout", "protocol", "retired"]
"""How a worker ended.

crashed: it exited by itself, or by a signal of its own making (SIGSEGV). killed: somebody else
ended it, or its zygote. oom: a SIGKILL that wasn't ours. hung: its heart stopped. timeout: a batch
or a load passed its limit. protocol: it sent what isn't ours. retired: as asked.
"""


@dataclass(frozen=True, slots=True)
class BatchDone:
    replies: list[Reply]  # in the order of the requests
    rows: int
    predict_s: float


@dataclass(frozen=True, slots=True)
class BatchLost:
    """The worker ended under it. Only what had not started may be tried again elsewhere."""

    started: bool
    reason: LostReason


BatchOutcome = BatchDone | BatchLost


class WorkerLost(ServiceUnavailable):
    """The worker ended while it had something to load; ``began``: this load may be why."""

    reason = "worker_lost"

    def __init__(self, how: LostReason, *, began: bool) -> None:
        super().__init__(
            f"the worker process that was to load the model ended ({how}); try again",
            retry_after_s=1.0,
        )
        self.how = how
        self.began = began


class NotStarting(ServiceUnavailable):
    """The fleet has given up: its processes end before a worker is ready."""

    reason = "environment"

    def __init__(self, environment: str) -> None:
        super().__init__(
            f"environment {environment} (MMS_ENVS) doesn't start: see the server's log",
            retry_after_s=10.0,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetOptions:
    environ: Mapping[str, str]  # the front's own; workers get it without what is secret
    threads: int = 2  # that run batches, in each worker
    max_rows: int = 1024  # of one call to a model
    memory_bytes: int | None = None  # a worker may take beyond its start; None: the kernel decides
    log_format: str = "json"
    log_level: str = "info"
    runtime: str = "mms.worker.runtime"  # module: load_model, run_batch, preload_modules
    preload: tuple[str, ...] | None = None  # imported before the fork; None: the runtime's own list
    ready_timeout_s: float = 30.0  # from the fork to READY
    zygote_timeout_s: float = 120.0  # from its start to the first fork: imports on a cold disk
    silent_s: float = 5.0  # a heart that hasn't beaten for so long has stopped
    busy_silent_s: float = 60.0  # during a load, which may hold the interpreter's lock
    tick_s: float = 0.25
    backoff_s: tuple[float, float] = field(default=(0.1, 10.0))  # first and longest wait
    environment: str = ""  # its name, where it isn't the front's own
    python: Path | None = None  # the interpreter of that environment
    max_in_vain: int | None = None  # processes that end before one is ready; None: try for ever
