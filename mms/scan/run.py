"""A scan from its settings to its exit status: the store, the workers, the listing, the order.

Owns the scan's own folder, which is gone at the end however it ends.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

from mms.errors import MmsError
from mms.fleet.interpreters import Interpreter, find_interpreters
from mms.fleet.outcome import FleetOptions, LostReason
from mms.fleet.pools import Pools
from mms.fleet.worker import Worker
from mms.log.plain import log_to_stderr
from mms.scan.scanner import Scanner, ScanOptions, Subject
from mms.scan.screen import Document, Lines, progress
from mms.scan.summary import exit_code
from mms.scan.verdict import Verdict
from mms.settings import Settings, StartError, disk_budget_bytes
from mms.settings.host import free_disk
from mms.settings.loads import load_options
from mms.store.base import ArtifactStore
from mms.store.disk import DiskCache
from mms.store.open import open_store
from mms.store.targets import targets_of

_LIST_S: Final = 600.0


def run(settings: Settings, *, load: bool, as_json: bool, shows_all: bool) -> int:
    """Scan ``settings.models``; returns the exit status.

    Raises StartError, and KeyboardInterrupt for other signals too; all is cleaned up then.
    """
    with _other_signals_as_ctrl_c():
        return _run(settings, load=load, as_json=as_json, shows_all=shows_all)


def _run(settings: Settings, *, load: bool, as_json: bool, shows_all: bool) -> int:
    log_to_stderr(settings.log_format, "error")  # the verdicts say it
    screen = Document() if as_json else Lines(shows_all=shows_all)
    assert settings.models is not None
    try:
        with _folder() as folder:
            store = open_store(
                settings.models,
                endpoint_url=settings.s3_endpoint_url,
                connections=settings.workers,
            )
            subjects, others = _listed(store)
            verdicts = asyncio.run(_scan(settings, store, folder, subjects, screen, load=load))
    except MmsError as error:
        raise StartError(f"{settings.models} can't be scanned: {error.message}") from error
    screen.end(store.id, verdicts, others)
    return exit_code(verdicts)


@contextmanager
def _other_signals_as_ctrl_c() -> Iterator[None]:
    """What else ends a program politely lets it clean up too, as a CI job's end does."""

    def interrupt(_: int, frame: FrameType | None) -> None:
        on_ctrl_c = signal.getsignal(signal.SIGINT)  # asyncio's own while its loop runs
        if not callable(on_ctrl_c):  # a job in the background has none
            raise KeyboardInterrupt
        on_ctrl_c(signal.SIGINT, frame)

    signals = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) == signal.SIG_DFL]
    for number in signals:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in signals:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="mms-scan-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _listed(store: ArtifactStore) -> tuple[list[Subject], list[str]]:
    """The artifacts of the prefix, and the objects that are none by their names."""
    store.check()
    subjects, others = [], []
    for candidate in targets_of(store.list(deadline=time.monotonic() + _LIST_S)):
        if candidate.kind == "other":
            others.append(candidate.target)
        else:
            subjects.append(Subject(candidate.target, candidate.size))
    return subjects, others


async def _scan(
    settings: Settings,
    store: ArtifactStore,
    folder: Path,
    subjects: list[Subject],
    screen: Document | Lines,
    *,
    load: bool,
) -> list[Verdict]:
    budget = disk_budget_bytes(settings.disk_budget, free=free_disk(folder), held=0)
    cache = DiskCache(folder, budget_bytes=budget)
    interpreters = find_interpreters(settings.envs)
    pools = _pools(settings, interpreters, min(settings.workers, max(1, len(subjects))))
    told = load_options(settings, {i.name: i.versions for i in interpreters.values()})
    options = ScanOptions(load=load, options=told, limit_s=settings.load_timeout_s)
    scanner = Scanner(store, cache, pools, options, side_by_side=settings.workers)
    await pools.start()
    verdicts = []
    try:
        with progress(len(subjects)) as tick:
            async for verdict in scanner.scan(subjects):
                verdicts.append(verdict)
                screen.verdict(verdict)
                tick()
    finally:
        await pools.aclose()
        await asyncio.to_thread(store.close)
        cache.close()
    return verdicts


def _pools(settings: Settings, interpreters: dict[str, Interpreter], workers: int) -> Pools:
    return Pools(
        workers=workers,
        options=FleetOptions(
            environ=os.environ,
            runtime="mms.worker.scanning",
            memory_bytes=settings.memory_budget_bytes,
            log_format=settings.log_format,
            log_level="error",
        ),
        listener=_Unheard(),
        interpreters=interpreters,
        is_used=lambda _: True,
        clock=time.monotonic,
    )


class _Unheard:
    """What becomes of workers shows in what becomes of their loads."""

    def worker_ready(self, worker: Worker) -> None: ...

    def worker_lost(self, worker: Worker, reason: LostReason) -> None: ...
