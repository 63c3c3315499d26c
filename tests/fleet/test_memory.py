"""PSS: of processes that are there; and how much a worker may take."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mms.errors import InsufficientStorage
from mms.fleet.memory import pss_bytes, pss_of
from tests.fleet.world import ask, model, running

MIB = 1 << 20


def test_a_process_has_a_size() -> None:
    size = pss_bytes(os.getpid())
    assert size is not None
    assert size > 1 << 20


def test_a_process_that_is_gone_has_none_and_is_left_out() -> None:
    assert pss_bytes(2**22 + 1) is None
    assert pss_of([os.getpid(), 2**22 + 1]).keys() == {os.getpid()}


async def test_a_worker_takes_no_more_than_it_may(tmp_path: Path) -> None:
    """What would take more fails alone: the worker, and the model that it has, serve on."""
    async with running(memory_bytes=200 * MIB) as fleet:
        [worker] = fleet.workers
        await worker.load(1, model(tmp_path, f"weigh {100 * MIB}"), {})
        with pytest.raises(InsufficientStorage):
            await worker.load(2, model(tmp_path, f"weigh {400 * MIB}"), {})
        assert await ask(worker, "echo") == ""
        await worker.load(3, model(tmp_path, f"weigh {20 * MIB}"), {})
