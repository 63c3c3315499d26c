"""Hostile request bodies, decoded in process: a refusal or a payload, in little memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from loaders.base import InputError, Payload
from mms import media
from mms.errors import PayloadTooLarge
from mms.worker.codecs import CODECS, decode
from tests.hostile import bodies
from tests.hostile.sample import Canary

BODIES = {body.name: body for body in bodies.bodies() if not body.encoding}
PER_BYTE = 120
"""Bytes of memory a byte of the body may take: ``[],`` is three, and a list of its own."""
FREE = 32 << 20


@pytest.mark.parametrize("name", [n for n, b in BODIES.items() if b.content_type in CODECS])
def test_a_hostile_body_is_refused_or_read_in_bounds(name: str, tmp_path: Path) -> None:
    """Nothing but a refusal is raised, nothing runs, memory grows with the body only."""
    canary = Canary(tmp_path / "canary")
    body = BODIES[name].make(str(canary.folder))
    tracemalloc.start()
    try:
        _read(body, BODIES[name].content_type)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < PER_BYTE * len(body) + FREE
    canary.assert_silent()


def _read(body: bytes, content_type: str) -> None:
    try:
        payload = decode(body, media.Spec(content_type=content_type))
    except (InputError, PayloadTooLarge) as error:
        assert 0 < len(str(error)) < 600  # noqa: PT017 - either outcome is right
    else:
        assert isinstance(payload, Payload)
