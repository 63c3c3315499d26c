"""How much an artifact may unpack to; what is beyond is refused before it fills the disk."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one artifact; the disk budget bounds it further."""

    unpacked_bytes: int = 64 * 1024 * MIB
    members: int = 10_000
    depth: int = 32  # folders below each other
    path_bytes: int = 1024
    ratio: float = 200.0  # unpacked to packed; text compresses 5-20 times, zeros 1000 times
    ratio_floor_bytes: int = 64 * MIB  # below this the ratio isn't looked at
    window_bytes: int = 128 * MIB  # of a zstd frame, which is held in memory; --long takes as much
    header_bytes: int = MIB  # of one extended header, which is held in memory
