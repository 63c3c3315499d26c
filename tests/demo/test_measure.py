from __future__ import annotations

import pytest

from mms.demo.client import Reply
from mms.demo.measure import problem
from mms.demo.sample import Sample

SAMPLE = Sample(
    target="a.joblib",
    data="d",
    model="M",
    format="joblib",
    content_type="application/json",
    body="",
    expected='{"predictions": [1]}',
    tolerance=0.0,
)


@pytest.mark.parametrize(
    ("status", "tier", "body", "says"),
    [
        (503, "store", b'{"Message": "busy"}', 'status 503: {"Message": "busy"}'),
        (200, "disk", b'{"predictions": [1]}', "from disk, not from store"),
        (200, "", b'{"predictions": [1]}', "from nowhere"),
        (200, "store", b'{"predictions": [2]}', "is 2, the model says 1"),
    ],
)
def test_a_wrong_reply_says_what_is_wrong(status: int, tier: str, body: bytes, says: str) -> None:
    """An error, another tier than the row claims, other numbers: each is a failure."""
    assert says in problem(SAMPLE, Reply(status=status, tier=tier, body=body, ms=1), tier="store")


def test_a_right_reply_has_no_problem() -> None:
    """Right status, tier and numbers."""
    reply = Reply(status=200, tier="store", body=b'{"predictions":[1]}', ms=1)
    assert not problem(SAMPLE, reply, tier="store")
