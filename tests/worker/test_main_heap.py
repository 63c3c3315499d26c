"""The heap's size, by whichever way this machine has."""

from __future__ import annotations

from mms.worker import heap

SIZE = 20_000_000


def test_what_is_allocated_shows_and_what_is_freed_goes() -> None:
    before = heap.used_bytes()
    block = bytearray(SIZE)
    grown = heap.used_bytes() - before
    del block
    assert SIZE <= grown < 1.1 * SIZE
    heap.trim()
    assert heap.used_bytes() - before < SIZE / 10


def test_the_resident_set_is_the_fallback() -> None:
    """Where there is no mallinfo2."""
    assert heap.resident_bytes() > SIZE / 4
