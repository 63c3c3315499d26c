"""Zstandard: whole or refused, never more in memory than a window and a block."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from mms.errors import ModelLoadError, StoreUnavailable
from mms.store.limits import Limits
from mms.store.unzstd import MAGIC, unzstd

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = os.urandom(300_000) + bytes(300_000) + b"text " * 50_000
SKIPPABLE = b"\x5e\x2a\x4d\x18\x05\0\0\0abcde"
RLE = (128 << 10 << 3 | 1 << 1).to_bytes(3, "little") + b"x"  # 128 KiB out of four bytes
HEADER = MAGIC + b"\x00\x58"  # a window of 2 MiB, no size, no checksum


def packed(data: bytes, *, write_checksum: bool = False, write_content_size: bool = True) -> bytes:
    packer = zstandard.ZstdCompressor(
        write_checksum=write_checksum, write_content_size=write_content_size
    )
    return packer.compress(data)


def pieces(body: bytes, size: int) -> Iterator[bytes]:
    return (body[at : at + size] for at in range(0, len(body), size))


def unpacked(body: bytes, size: int = 1 << 16, limits: Limits | None = None) -> bytes:
    return b"".join(unzstd(pieces(body, size), limits or Limits()))


def streamed(data: bytes) -> bytes:
    """As a pipe is packed: with no size in front."""
    packer = zstandard.ZstdCompressor(write_checksum=True).compressobj()
    parts = [
        packer.compress(part) + packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        for part in pieces(data, 70_000)
    ]
    return b"".join(parts) + packer.flush()


WHOLE = {
    "one frame": packed(DATA),
    "checksum": packed(DATA, write_checksum=True),
    "no size": packed(DATA, write_content_size=False),
    "streamed": streamed(DATA),
    "several frames": packed(DATA[:1000]) + packed(b"") + streamed(DATA[1000:]),
    "skippable frames": SKIPPABLE + packed(DATA) + SKIPPABLE,
    "long windows": zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters.from_level(3, window_log=27)
    ).compress(DATA),
}


@pytest.mark.parametrize("size", [7, 1 << 20])
@pytest.mark.parametrize("kind", WHOLE)
def test_what_was_packed_comes_out(kind: str, size: int) -> None:
    """Whoever packed it, in one frame or several, and in whatever pieces it arrives."""
    assert unpacked(WHOLE[kind], size) == DATA


@pytest.mark.parametrize("kind", WHOLE)
def test_a_stream_that_breaks_off_is_truncated(kind: str) -> None:
    """Wherever it is cut, its checksum included, unless the cut is between two frames."""
    body = WHOLE[kind]
    for cut in {5, 6, 9, len(body) // 2, len(body) - 4, len(body) - 3, len(body) - 1}:
        with pytest.raises(ModelLoadError, match=r"truncated|no zstd|corrupt"):
            unpacked(body[:cut])


def big_window(log: int) -> bytes:
    return MAGIC + bytes([0, (log - 10) << 3]) + b"\x01\0\0"


REFUSED = {
    "checksum": (packed(DATA, write_checksum=True)[:-1] + b"\0", "checksum is wrong"),
    "damaged": (packed(b"text " * 5000)[:12] + b"\xff" * 300, "corrupt|truncated"),
    "reserved block": (HEADER + b"\x07\0\0", "corrupt"),
    "huge block": (HEADER + (200 << 10 << 3 | 1).to_bytes(3, "little"), "corrupt"),
    "reserved bit": (MAGIC + b"\x08\x58\x01\0\0", "corrupt"),
    "garbage after": (packed(DATA) + b"garbage", "no zstd"),
    "window of 256 MiB": (big_window(28), "window of 268,435,456 bytes"),
    "window of 2 GiB": (big_window(31), "zstd window"),
    "one segment of 8 EiB": (MAGIC + b"\xe0" + b"\xff" * 7 + b"\x0f", "zstd window"),
    "dictionary": (MAGIC + b"\x01\x58\x07", "dictionary"),
    "bomb": (HEADER + RLE * 1000, "200 times"),
    "empty blocks": (HEADER + bytes(3) * 2000, "absurdly many"),
    "empty frames": (packed(b"") * 2000, "absurdly many"),
    "skippable frames": (b"\x50\x2a\x4d\x18\0\0\0\0" * 2000, "absurdly many"),
    "long skippable": (b"\x50\x2a\x4d\x18\xff\xff\xff\xff" + b"x" * 100, "truncated"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_refused_and_named(case: str) -> None:
    """Every way to be broken, a bomb or too demanding is a ModelLoadError."""
    body, message = REFUSED[case]
    with pytest.raises(ModelLoadError, match=message):
        unpacked(body, limits=Limits(ratio_floor_bytes=1 << 20))


def test_a_bomb_is_stopped_while_it_is_small() -> None:
    """No more comes out at once than a block, so that the ratio is seen in time."""
    out: list[bytes] = []
    with pytest.raises(ModelLoadError, match="200 times"):
        out.extend(unzstd(iter((HEADER + RLE * 100_000,)), Limits(ratio_floor_bytes=1 << 20)))
    assert max(map(len, out)) <= 128 << 10
    assert sum(map(len, out)) <= 1 << 20


def test_a_fault_of_the_store_passes_through() -> None:
    """It isn't the artifact's."""

    def cut() -> Iterator[bytes]:
        yield WHOLE["streamed"][:1000]
        raise StoreUnavailable("cut")

    with pytest.raises(StoreUnavailable):
        list(unzstd(cut(), Limits()))


@settings(max_examples=100)
@given(at=st.integers(0, 5000), value=st.integers(0, 255))
def test_a_changed_byte_is_noticed(at: int, value: int) -> None:
    """With a checksum, what comes out is what went in, or an error."""
    data = b"some text " * 1000 + os.urandom(3000)
    body = bytearray(packed(data, write_checksum=True))
    body[at % len(body)] = value
    with suppress(ModelLoadError):
        assert unpacked(bytes(body)) == data


def test_the_library_is_imported_by_the_first_artifact_that_needs_it() -> None:
    """A server without such artifacts doesn't pay for it."""
    code = "import sys, mms.store.fetch; print('zstandard' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
