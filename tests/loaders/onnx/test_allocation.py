"""What may be allocated is bounded for a while, and only for a while."""

from __future__ import annotations

import resource
import subprocess
import sys
import threading

import numpy as np
import pytest

from loaders.onnx.allocation import at_most

MIB = 1 << 20


def _limits() -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_DATA)


def test_more_than_the_bound_is_out_of_memory() -> None:
    """Before any of it is taken; what fits is given, and afterwards all is as it was."""
    before = _limits()
    with at_most(512 * MIB):
        assert np.ones(16 * MIB, np.uint8).all()
        with pytest.raises(MemoryError):
            np.empty(1024 * MIB, np.uint8)
    assert _limits() == before
    assert np.empty(1024 * MIB, np.uint8).size == 1024 * MIB


def test_an_error_lifts_the_bound() -> None:
    before = _limits()
    with pytest.raises(ValueError, match="odd"), at_most(64 * MIB):
        raise ValueError("odd")
    assert _limits() == before


def test_one_at_a_time() -> None:
    """Two that overlap would leave the limit of one behind for good."""
    before = _limits()
    inside, other = threading.Event(), threading.Event()

    def second() -> None:
        inside.wait()
        with at_most(512 * MIB):
            other.set()

    thread = threading.Thread(target=second)
    thread.start()
    with at_most(512 * MIB):
        inside.set()
        assert not other.wait(0.1)
    thread.join()
    assert other.is_set()
    assert _limits() == before


def test_a_tighter_limit_of_the_process_stays() -> None:
    """Nothing is ever allowed that the operator doesn't."""
    code = """
import resource
from loaders.onnx.allocation import at_most
most = 2 << 30
resource.setrlimit(resource.RLIMIT_DATA, (most, most))
with at_most(1 << 40):
    assert resource.getrlimit(resource.RLIMIT_DATA) == (most, most)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
