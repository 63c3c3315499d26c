"""The door: requests and bytes are bounded, and what only was announced takes no room."""

from __future__ import annotations

import pytest

from mms.engine.admission import Admission
from mms.errors import Overloaded


def test_requests_are_bounded() -> None:
    """One more is refused until one is released; a second release is harmless."""
    admission = Admission(max_requests=2, max_bytes=100)
    first, _ = admission.admit(0), admission.admit(0)
    with pytest.raises(Overloaded, match="MMS_MAX_INFLIGHT"):
        admission.admit(0)
    first.release()
    first.release()
    assert admission.requests == 1
    admission.admit(0)


def test_only_bytes_that_came_take_room() -> None:
    """Announced lengths keep nobody out; what has come does, and is given back."""
    admission = Admission(max_requests=10, max_bytes=100)
    permits = [admission.admit(90) for _ in range(3)]
    assert admission.bytes == 0
    permits[0].grow(60)
    with pytest.raises(Overloaded, match="MMS_MAX_INFLIGHT_BYTES"):
        permits[1].grow(41)
    permits[1].grow(40)
    assert admission.bytes == 100
    permits[1].release()
    permits[0].grow(30)
    permits[0].release()
    assert (admission.bytes, admission.requests) == (0, 1)


def test_what_cannot_fit_beside_what_came_is_refused_before_it_is_sent() -> None:
    """By its announced length."""
    admission = Admission(max_requests=10, max_bytes=100)
    admission.admit(60).grow(60)
    with pytest.raises(Overloaded, match="MMS_MAX_INFLIGHT_BYTES"):
        admission.admit(41)
    assert admission.requests == 1
    admission.admit(40)
