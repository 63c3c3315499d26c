"""The codecs' table, and bodies of the largest size."""

from __future__ import annotations

import time

import numpy as np
import pytest

from loaders.base import Outputs
from mms import media
from mms.worker.codecs import CODECS, decode, encode


def test_the_worker_reads_and_writes_what_the_front_promises() -> None:
    assert CODECS.keys() == media.TYPES.keys()


def test_the_form_of_the_answer_is_chosen_by_accept() -> None:
    spec = media.Spec(content_type=media.CSV, accept=media.JSON)
    payload = decode(b"1,2\n3,4\n", spec)
    outputs = Outputs(arrays={"": np.array([1, 2])})
    assert encode(outputs, payload.form, spec) == (b"application/json", b'{"predictions":[1,2]}')


LARGE = 6_000_000


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        (media.CSV, b"1.25,2.5,3.75,5\n" * (LARGE // 16)),
        (media.CSV, b'"",' * (LARGE // 3)),
        (media.CSV, b'"' + b'""' * (LARGE // 2) + b'"'),
        (media.CSV, b"," * LARGE),
        (media.JSON, b"[" + b"[1.25,2.5,3.75]," * (LARGE // 16) + b"[1,2,3]]"),
        (media.JSON, b"[" + b"{}," * (LARGE // 3) + b"{}]"),
        (media.JSON_LINES, b"1\n" * (LARGE // 2)),
        (media.JSON_LINES, b"[1.25,2.5,3.75]\n" * (LARGE // 16)),
        (media.JSON_LINES, b"\n" * LARGE + b"1"),
    ],
)
def test_the_largest_body_is_read_in_a_moment(media_type: str, body: bytes) -> None:
    """Hang guard: each took a second at most where this was written."""
    start = time.monotonic()
    assert decode(body, media.Spec(content_type=media_type)).rows
    assert time.monotonic() - start < 20
