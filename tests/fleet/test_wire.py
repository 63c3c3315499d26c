"""Frames: a message comes back whole however it is cut and interleaved; all else is refused."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mms.fleet import wire

KINDS = st.integers(wire.READY, wire.SHUTDOWN)
IDS = st.integers(0, 2**64 - 1)
PARTS = st.lists(st.binary(max_size=40), max_size=5)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    chunks = []
    for size in sizes:
        chunks.append(data[:size])
        data = data[size:]
    return [*chunks, data]


def feed_all(assembler: wire.Assembler, chunks: Iterable[bytes]) -> list[wire.Message]:
    return [message for chunk in chunks for message in assembler.feed(chunk)]


@given(
    st.lists(st.tuples(KINDS, PARTS), max_size=6),
    st.integers(1, 50),
    st.lists(st.integers(0, 60)),
    st.randoms(use_true_random=False),
)
def test_any_split_and_interleaving_gives_the_messages_back(
    messages: list[tuple[int, list[bytes]]], limit: int, sizes: list[int], random: object
) -> None:
    """However frames are interleaved and the stream is cut, every message comes whole, once."""
    pending = [
        list(wire.frames(kind, ident, parts, limit)) for ident, (kind, parts) in enumerate(messages)
    ]
    stream = []
    while any(pending):
        frames = random.choice([f for f in pending if f])  # type: ignore[attr-defined]
        stream.append(frames.pop(0))
    assembler = wire.Assembler()
    got = feed_all(assembler, cut(b"".join(stream), sizes))
    assert sorted((m.id, m.kind, m.payload) for m in got) == [
        (ident, kind, b"".join(parts)) for ident, (kind, parts) in enumerate(messages)
    ]


@given(KINDS, IDS, PARTS)
def test_one_frame_is_what_frames_gives(kind: int, ident: int, parts: list[bytes]) -> None:
    """A small message is the same bytes whichever way it is made."""
    size = sum(map(len, parts))
    assert wire.frame(kind, ident, parts, size) == b"".join(wire.frames(kind, ident, parts))


@given(st.integers(0, 2000), st.integers(1, 300))
def test_no_frame_is_bigger_than_the_limit(size: int, limit: int) -> None:
    """So a big body never holds the socket for longer than one frame."""
    for frame in wire.frames(wire.BATCH, 1, [bytes(size // 2), bytes(size - size // 2)], limit):
        assert len(frame) <= limit + wire.HEADER_BYTES


@given(st.lists(st.binary(max_size=200)))
def test_garbage_is_a_protocol_error_at_worst(chunks: list[bytes]) -> None:
    """Nothing that a peer sends raises anything else."""
    assembler = wire.Assembler(max_message=500)
    with contextlib.suppress(wire.ProtocolError):
        feed_all(assembler, chunks)


@given(st.integers(0, 47), st.integers(0, 255), st.binary(max_size=60))
def test_a_flipped_byte_is_a_protocol_error_at_worst(at: int, value: int, rest: bytes) -> None:
    """Nor does a stream that was right up to somewhere."""
    data = bytearray(b"".join(wire.frames(wire.RESULT, 7, [b"a" * 20], 10)) + rest)
    data[at % len(data)] = value
    assembler = wire.Assembler(max_message=500)
    with contextlib.suppress(wire.ProtocolError):
        assembler.feed(bytes(data))


def test_garbage_is_refused() -> None:
    """Text in the channel is seen for what it is as soon as a header's worth has come."""
    with pytest.raises(wire.ProtocolError):
        wire.Assembler().feed(b"print would have done this")


def test_a_frame_over_the_limit_is_refused_at_its_header() -> None:
    """Nothing is set aside for a length that nobody may announce."""
    header = wire._HEADER.pack(wire.MAX_FRAME + 1, wire.RESULT, 0, wire._MAGIC, 1)
    with pytest.raises(wire.ProtocolError):
        wire.Assembler().feed(header)


@pytest.mark.parametrize("kind", [0, 10, 255])
def test_an_unknown_kind_is_refused(kind: int) -> None:
    """A kind that is none isn't skipped."""
    with pytest.raises(wire.ProtocolError):
        wire.Assembler().feed(wire.frame(kind, 1, (), 0))


def test_open_messages_together_are_bounded() -> None:
    """What a worker begins and never ends can't fill the front's memory, one message or many."""
    first = [next(wire.frames(wire.RESULT, i, [bytes(200)], 100)) for i in range(9)]
    assembler = wire.Assembler(max_message=1000)
    with pytest.raises(wire.ProtocolError):
        feed_all(assembler, first)


def test_tiny_frames_count_for_what_they_cost() -> None:
    """A million frames of one byte are not a megabyte."""
    assembler = wire.Assembler(max_message=1000)
    with pytest.raises(wire.ProtocolError):
        feed_all(assembler, wire.frames(wire.RESULT, 1, [bytes(100)], 1))


def test_the_number_of_open_messages_is_bounded() -> None:
    assembler = wire.Assembler(max_open=2)
    for ident in (1, 2):
        assembler.feed(next(wire.frames(wire.RESULT, ident, [b"ab"], 1)))
    with pytest.raises(wire.ProtocolError):
        assembler.feed(next(wire.frames(wire.RESULT, 3, [b"ab"], 1)))


def test_a_message_that_ends_frees_what_it_held() -> None:
    """The bound is over what is open, not over all that ever came."""
    assembler = wire.Assembler(max_message=1000)
    for _ in range(10):
        feed_all(assembler, wire.frames(wire.RESULT, 1, [bytes(400)], 100))


def test_a_message_keeps_its_kind() -> None:
    assembler = wire.Assembler()
    assembler.feed(next(wire.frames(wire.RESULT, 1, [b"ab"], 1)))
    with pytest.raises(wire.ProtocolError):
        assembler.feed(wire.frame(wire.LOADED, 1, [b"b"], 1))


def test_the_buffer_fed_from_may_be_used_again() -> None:
    """The worker reads into one buffer for ever."""
    buffer = bytearray(b"".join(wire.frames(wire.BATCH, 1, [b"abcdef"], 4)))
    assembler = wire.Assembler()
    view = memoryview(buffer)
    assembler.feed(view[:18])
    saved, buffer[:18] = bytes(buffer[18:]), bytes(18)
    [message] = assembler.feed(saved)
    assert message.payload == b"abcdef"


@given(st.binary(max_size=40))
def test_only_whole_packets_are_the_zygotes(packet: bytes) -> None:
    """A packet of another size is no packet."""
    if len(packet) == wire.CONTROL_BYTES:
        assert wire.control(*wire.decode_control(packet)) == packet
    else:
        with pytest.raises(wire.ProtocolError):
            wire.decode_control(packet)
