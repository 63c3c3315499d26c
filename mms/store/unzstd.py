"""Zstandard, undone block by block, with its checksums verified and its growth bounded.

Follows the frames itself and hands whole blocks, of 128 KiB unpacked at most, to the library: so
what comes out of a call is bounded, a window is refused before it is allocated, and a stream that
breaks off is never taken for a whole one. The library is imported by the first such artifact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mms.errors import ModelLoadError
from mms.store.blocks import Reader
from mms.store.growth import Growth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zstandard import ZstdDecompressionObj

    from mms.store.limits import Limits

MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = b"\x2a\x4d\x18"  # after one byte of 0x50 to 0x5F
_MAX_BLOCK = 128 << 10
MAX_HEAD = 18 + 3 + _MAX_BLOCK
"""So many bytes of a frame hold the beginning of what is in it."""
_DICTIONARY_BYTES = (0, 1, 2, 4)
_CONTENT_BYTES = (0, 2, 4, 8)
_RLE, _RESERVED = 1, 3  # types of blocks


def begins_zstd(head: bytes) -> bool:
    """Whether these first bytes are of a frame; a skippable one may come before the others."""
    return head.startswith(MAGIC) or _is_skippable(head[:4])


def unzstd(blocks: Iterator[bytes], limits: Limits) -> Iterator[bytes]:
    """The unpacked bytes of one frame, or of several that follow each other."""
    return _Frames(Reader(blocks), limits).unpacked()


class _Frames:
    def __init__(self, source: Reader, limits: Limits) -> None:
        self._source = source
        self._limits = limits
        self._growth = Growth(limits)
        self._pieces = 0

    def unpacked(self) -> Iterator[bytes]:
        while magic := self._source.exactly(4):
            self._count(len(magic), 0)
            if _is_skippable(magic):
                self._skip()
            elif magic == MAGIC:
                yield from self._frame()
            else:
                raise ModelLoadError("the archive has bytes after its end that are no zstd")

    def _skip(self) -> None:
        size = int.from_bytes(self._take(4), "little")
        skipped = sum(map(len, self._source.up_to(size)))
        self._growth.count(skipped, 0)
        if skipped < size:
            raise _truncated()

    def _frame(self) -> Iterator[bytes]:
        header, has_checksum = self._header()
        stream = _new_stream(MAGIC + header, self._limits)
        _inflate(stream, MAGIC + header)
        is_last = False
        while not is_last:
            head = self._take(3)
            is_last = bool(head[0] & 1)
            data = head + self._take(_block_size(head))
            out = _inflate(stream, data)
            self._count(len(data), len(out))
            if out:
                yield out
        if has_checksum:
            _inflate(stream, self._take(4))
        if not stream.eof:
            raise _corrupt()

    def _header(self) -> tuple[bytes, bool]:
        """A frame's header after its magic number, and whether a checksum ends the frame."""
        descriptor = self._take(1)
        bits = descriptor[0]
        is_single = bool(bits & 0x20)  # one segment: its size is its window
        content = _CONTENT_BYTES[bits >> 6] or int(is_single)
        rest = self._take((not is_single) + _DICTIONARY_BYTES[bits & 3] + content)
        return descriptor + rest, bool(bits & 4)

    def _take(self, n: int) -> bytes:
        data = self._source.exactly(n)
        if len(data) < n:
            raise _truncated()
        return data

    def _count(self, packed: int, unpacked: int) -> None:
        self._pieces += 1
        self._growth.count(packed, unpacked)
        self._growth.check_pieces(self._pieces)


def _is_skippable(magic: bytes) -> bool:
    return magic[1:] == _SKIPPABLE and magic[0] & 0xF0 == 0x50


def _new_stream(header: bytes, limits: Limits) -> ZstdDecompressionObj:
    import zstandard  # few artifacts need it

    try:
        frame = zstandard.get_frame_parameters(header)
    except zstandard.ZstdError:
        raise _corrupt() from None
    if frame.window_size > limits.window_bytes:
        raise ModelLoadError(
            f"the archive needs a zstd window of {frame.window_size:,} bytes, more than "
            f"{limits.window_bytes:,}: pack it without --ultra or --long"
        )
    if frame.dict_id:
        raise ModelLoadError("the archive needs a zstd dictionary: pack it without one")
    return zstandard.ZstdDecompressor(max_window_size=limits.window_bytes).decompressobj()


def _inflate(stream: ZstdDecompressionObj, data: bytes) -> bytes:
    from zstandard import ZstdError  # imported already

    try:
        return stream.decompress(data)
    except ZstdError as exc:
        if "checksum" in str(exc):
            raise ModelLoadError("the archive is corrupt: its zstd checksum is wrong") from None
        raise _corrupt() from None


def _block_size(head: bytes) -> int:
    """How many bytes of a block follow its head."""
    number = int.from_bytes(head, "little")
    kind, size = number >> 1 & 3, number >> 3
    if kind == _RESERVED or size > _MAX_BLOCK:
        raise _corrupt()
    return 1 if kind == _RLE else size


def _truncated() -> ModelLoadError:
    return ModelLoadError("the archive is truncated: its zstd stream breaks off")


def _corrupt() -> ModelLoadError:
    return ModelLoadError("the archive is corrupt: its zstd stream can't be unpacked")
