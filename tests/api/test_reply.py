from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mms.api.reply import reply_headers, server_timing
from mms.types import Answer


def test_absent_phases_are_left_out() -> None:
    """A warm request neither fetched nor loaded; one from disk only loaded."""
    warm = Answer(body=b"", content_type=b"x/y", queue_s=0.0001, predict_s=0.25)
    disk = Answer(body=b"", content_type=b"x/y", load_s=1.5)
    assert server_timing(warm) == b"queue;dur=0.100, predict;dur=250.000"
    assert server_timing(disk) == b"queue;dur=0.000, load;dur=1500.000, predict;dur=0.000"


@given(st.binary(max_size=30), st.text(max_size=20), st.booleans())
def test_no_answer_writes_a_line_of_its_own(content_type: bytes, version: str, echo: bool) -> None:
    """Whatever a model or a store gives."""
    answer = Answer(body=b"", content_type=content_type, version=version)
    for name, value in reply_headers(answer, echo_attributes=echo):
        assert (name + value).isascii()
        assert (name + value).decode().isprintable()
