"""Mutations that know nothing of what they mutate: flipped, cut, doubled, spliced bytes."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

Mutator = Callable[[random.Random, bytes], bytes]
_ODD = (0, 1, 0x7F, 0x80, 0xFF, 0x0A, 0x20, 0x22, 0x2C, 0x5B, 0x7B)
_LARGEST = 1 << 16  # what is put in at once


def flipped(rng: random.Random, data: bytes) -> bytes:
    if not data:
        return b"\0"
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]


def replaced(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + bytes([rng.choice(_ODD)]) + data[at + 1 :]


def cut(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def removed(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + data[at + rng.choice((1, 2, 4, 8, 100)) :]


def doubled(rng: random.Random, data: bytes) -> bytes:
    start = rng.randrange(len(data) + 1)
    piece = data[start : start + rng.choice((1, 8, 64, 512))]
    return (
        data[:start]
        + piece * min(rng.choice((1, 2, 16, 1000)), 1 + _LARGEST // (1 + len(piece)))
        + data[start:]
    )


def numbered(rng: random.Random, data: bytes) -> bytes:
    """A number that is at the edge of something, over what stands there."""
    width = rng.choice((1, 2, 4, 8))
    edge = rng.choice(
        (0, 1, 1 << (8 * width - 1), (1 << (8 * width)) - 1, (1 << (8 * width - 1)) - 1)
    )
    at = rng.randrange(len(data) + 1)
    return data[:at] + edge.to_bytes(width, rng.choice(("little", "big"))) + data[at + width :]


ANY: Sequence[Mutator] = (flipped, replaced, cut, removed, doubled, numbered)


def anyhow(rng: random.Random, data: bytes) -> bytes:
    for _ in range(rng.choice((1, 1, 2, 4))):
        data = rng.choice(ANY)(rng, data)
    return data
