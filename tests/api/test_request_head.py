from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mms.api.request_head import ATTRIBUTES, TARGET, scan
from mms.errors import MmsError, UnsupportedMediaType, ValidationError

NAMES = st.sampled_from(
    [TARGET, ATTRIBUTES, b"content-type", b"accept", b"content-encoding", b"x-request-id", b"x"]
)


def test_lists_that_come_in_pieces_are_one_list() -> None:
    """As HTTP says of headers that are lists."""
    head = scan([(b"accept", b"text/csv"), (b"accept", b" application/json;q=0.5 ")])
    head.checked()
    assert head.values[b"accept"] == b"text/csv, application/json;q=0.5"


@pytest.mark.parametrize("name", [TARGET, b"content-type", b"x-request-id"])
def test_what_may_stand_once_is_refused_twice(name: bytes) -> None:
    """The message names the header."""
    with pytest.raises(ValidationError, match=name.decode()):
        scan([(name, b"a"), (name, b"a")]).checked()


@pytest.mark.parametrize(
    ("value", "coding"),
    [
        (b"gzip", "gzip"),
        (b"X-GZip", "gzip"),
        (b"identity, gzip", "gzip"),
        (b"Identity", ""),
        (b"", ""),
    ],
)
def test_a_body_may_be_encoded_once(value: bytes, coding: str) -> None:
    """By gzip, under both its names, in any case of letters."""
    assert scan([(b"content-encoding", value)]).coding() == coding
    assert scan([]).coding() == ""


@pytest.mark.parametrize("value", [b"br", b"gzip, x-gzip", b"deflate", b"gzipped", b"\xff" * 2000])
def test_other_codings_are_refused(value: bytes) -> None:
    """With what is possible; two of them too."""
    with pytest.raises(UnsupportedMediaType, match="send gzip") as caught:
        scan([(b"content-encoding", value)]).coding()
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("headers", "length"),
    [([], 0), ([(b"content-length", b"7")], 7), ([(b"transfer-encoding", b"chunked")], None)],
)
def test_the_length_is_known_unless_the_body_is_chunked(
    headers: list[tuple[bytes, bytes]], length: int | None
) -> None:
    """No length and no coding means no body."""
    assert scan(headers).content_length == length


def test_lists_in_pieces_are_bounded_together() -> None:
    """Each piece is short, the whole is not."""
    with pytest.raises(ValidationError, match="custom-attributes"):
        scan([(ATTRIBUTES, b"a" * 600), (ATTRIBUTES, b"a" * 600)]).checked()


@given(st.lists(st.tuples(NAMES, st.binary(max_size=20)), max_size=8))
def test_scanning_never_fails_and_checking_only_in_our_words(
    headers: list[tuple[bytes, bytes]],
) -> None:
    """Hostile headers are refused, never a fault."""
    head = scan(headers)
    assert head.caller_id.isprintable()
    for check in (head.checked, head.coding, head.target):
        with contextlib.suppress(MmsError):
            check()
