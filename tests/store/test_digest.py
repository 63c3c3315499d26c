"""What is hashed beside the reader is all that was read, and leaves no thread behind."""

from __future__ import annotations

import hashlib
import threading

import pytest

from mms.store.digest import Digest

BLOCK = 1 << 20


def digesting() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "mms-digest"]


@pytest.mark.parametrize("announced", [0, 1 << 30])
@pytest.mark.parametrize("count", [0, 1, 30])
def test_it_is_the_digest_of_every_block(announced: int, count: int) -> None:
    """Whatever was announced, and though more comes than may wait."""
    blocks = [bytes([number]) * BLOCK for number in range(count)]
    with Digest(announced) as digest:
        for block in blocks:
            digest.update(block)
        assert digest.hexdigest() == hashlib.sha256(b"".join(blocks)).hexdigest()
    assert digesting() == []


def test_only_a_big_stream_takes_a_thread() -> None:
    """A thread costs more than a small artifact's hash."""
    with Digest(1000):
        assert digesting() == []
    with Digest(100 << 20):
        assert len(digesting()) == 1
    assert digesting() == []


def test_a_failure_ends_the_thread() -> None:
    """An artifact that is refused half-way leaves nothing running."""

    def refuse() -> None:
        with Digest(100 << 20) as digest:
            digest.update(b"x" * BLOCK)
            raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"):
        refuse()
    assert digesting() == []
