"""The status page: two mappings, one truth, and a size that nobody can change."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from mms.fleet import page
from mms.fleet.page import StatusPage

Sides = tuple[StatusPage, StatusPage]


@pytest.fixture(name="sides")
def _sides() -> Iterator[Sides]:
    front, fd = StatusPage.create()
    worker = StatusPage.attach(fd)
    yield front, worker
    front.close()
    worker.close()


def test_the_front_sees_what_a_worker_has_started(sides: Sides) -> None:
    """A slot holds a batch from its start to its end."""
    front, worker = sides
    worker.start(0, 7)
    worker.start(page.SLOTS - 1, 2**64 - 1)
    assert front.started() == {7, 2**64 - 1}
    worker.end(0)
    assert front.started() == {2**64 - 1}


def test_the_front_sees_the_heart_beat(sides: Sides) -> None:
    front, worker = sides
    assert front.heartbeat() == 0
    worker.beat()
    assert front.heartbeat() > 0


def test_a_worker_cannot_shrink_the_page_under_the_front() -> None:
    """It would kill the front with SIGBUS."""
    front, fd = StatusPage.create()
    for size in (0, 2 * page.BYTES):
        with pytest.raises(PermissionError):
            os.ftruncate(fd, size)
    os.close(fd)
    front.close()
