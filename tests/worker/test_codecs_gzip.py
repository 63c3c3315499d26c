"""Gzip bodies: what is inflated, what isn't, and that nobody pays for a bomb."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import os
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loaders.base import InputError
from mms.errors import PayloadTooLarge
from mms.media import CSV, Spec, encode_spec
from mms.worker.codecs import decode, may_hold, plain
from mms.worker.codecs.gzip import MAX_MEMBERS, inflated

LIMIT = 6_291_456
SPEC = Spec(content_type=CSV, coding="gzip")
EMPTY = gzip.compress(b"", mtime=0)
PACKED = gzip.compress(b"1,2,3", mtime=0)


@given(st.lists(st.binary(max_size=200), max_size=4))
@settings(max_examples=50)
def test_members_follow_each_other(parts: list[bytes]) -> None:
    """As ``cat a.gz b.gz`` makes them."""
    packed = b"".join(map(gzip.compress, parts))
    assert inflated(packed, LIMIT) == b"".join(parts)


def test_members_end_anywhere_in_the_body() -> None:
    """Also far behind the first block, and of any size."""
    parts = [os.urandom(size) for size in (70_000, 1, 200_000, 65_536)]
    assert inflated(b"".join(map(gzip.compress, parts)), LIMIT) == b"".join(parts)


def test_the_limit_is_what_may_come_out() -> None:
    """To the byte, over all members."""
    packed = gzip.compress(b"a" * 900) + gzip.compress(b"b" * 100)
    assert len(inflated(packed, 1000)) == 1000
    with pytest.raises(PayloadTooLarge, match=r"over 999 bytes .*MMS_MAX_BODY"):
        inflated(packed, 999)


def test_a_bomb_costs_no_more_than_the_limit() -> None:
    """A gigabyte in a megabyte."""
    bomb = gzip.compress(b"\0" * 100_000_000) * 10
    tracemalloc.start()
    with pytest.raises(PayloadTooLarge):
        inflated(bomb, LIMIT)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * LIMIT


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"1,2,3", "gzip data is damaged"),
        (PACKED[:-1], "cut short"),
        (PACKED[:5], "cut short"),
        (PACKED[:-8] + b"\0" * 8, "gzip data is damaged"),
        (PACKED + b"4,5,6", "at byte 25 of the body is no gzip"),
        (PACKED + b"\0" * 10, "at byte 25 of the body is no gzip"),
        (PACKED + EMPTY[:-4], "cut short"),
        (EMPTY * (MAX_MEMBERS + 1), "more than 1000 members"),
    ],
    ids=map(str, itertools.count()),  # the bodies hold the time
)
def test_what_is_no_gzip_is_refused(body: bytes, said: str) -> None:
    """Cut short, damaged, or with something behind it."""
    with pytest.raises(InputError, match=said):
        plain(body, SPEC)


def test_a_million_members_are_refused_in_a_moment() -> None:
    """Hang guard: each member would cost a copy of what follows it."""
    start = time.monotonic()
    with pytest.raises(InputError, match="members"):
        inflated(EMPTY * 300_000, LIMIT)
    assert time.monotonic() - start < 20


def test_an_empty_body_is_empty() -> None:
    """Packed or not; the codec says so."""
    assert plain(b"", SPEC) == plain(EMPTY, SPEC) == b""
    with pytest.raises(InputError, match="empty"):
        decode(plain(EMPTY, SPEC), SPEC)


@given(st.binary(max_size=300))
@settings(max_examples=50)
def test_what_may_come_out_is_known_before(content: bytes) -> None:
    """Never less than what does."""
    packed = gzip.compress(content * 1000)
    assert len(content) * 1000 <= may_hold(encode_spec(SPEC), packed) <= SPEC.max_body
    assert may_hold(encode_spec(Spec(content_type=CSV)), content) == len(content)


@given(st.binary(max_size=100), st.integers(0, 200))
@settings(max_examples=100)
def test_damage_is_never_more_than_a_refusal(noise: bytes, at: int) -> None:
    packed = gzip.compress(b"1,2,3\n" * 50)
    with contextlib.suppress(InputError):
        inflated(packed[:at] + noise + packed[at + len(noise) :], LIMIT)
