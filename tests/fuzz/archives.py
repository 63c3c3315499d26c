"""Archives with fields of their headers changed, and the checksums made right again."""

from __future__ import annotations

import gzip
import random
import tarfile

from tests.fuzz.bytes import anyhow
from tests.hostile.archives import BLOCK, END, file, header, link, long_name, pax, record, summed

_FIELDS = {  # of a header: where it starts, how long it is
    "name": (0, 100),
    "mode": (100, 8),
    "size": (124, 12),
    "mtime": (136, 12),
    "type": (156, 1),
    "link": (157, 100),
    "magic": (257, 8),
    "prefix": (345, 155),
}
_NAMES = (
    b"../x",
    b"/x",
    b"a/../../x",
    b"a",
    b"./a",
    b"a/",
    b"",
    b"\xff",
    b"a\0b",
    b"..",
    b"d/a",
    b"l/x",
    b"." * 100,
)
_SIZES = (
    b"00000000000\0",
    b"77777777777\0",
    b"-0000000001\0",
    b"\x80" + b"\xff" * 11,
    b"\xff" * 12,
    b"z",
    b"1",
)
_TYPES = b"0\x001234567xgKLSVDMNX\xff"


def _seed() -> bytes:
    return (
        header("d/", type=tarfile.DIRTYPE)
        + file("d/a", b"x" * 700)
        + pax(record(b"path", b"d/long"), record(b"mtime", b"1.5"))
        + file("x", b"y" * 20)
        + long_name(b"d/" + b"n" * 120 + b"\0")
        + file("z", b"")
        + link("l", "d/a")
        + link("h", "d/a", symbolic=False)
        + END
    )


def mutated(rng: random.Random) -> bytes:
    body = bytearray(_seed())
    for _ in range(rng.choice((1, 1, 2, 3))):
        block = rng.randrange(1 + len(body) // BLOCK) * BLOCK
        if rng.random() < 0.8:
            body[block : block + BLOCK] = _with_field(rng, bytes(body[block : block + BLOCK]))
        else:
            body = bytearray(anyhow(rng, bytes(body)))
    return _packed(rng, bytes(body))


def _with_field(rng: random.Random, block: bytes) -> bytes:
    start, size = _FIELDS[rng.choice(list(_FIELDS))]
    value = rng.choice((*_NAMES, *_SIZES, bytes([rng.choice(_TYPES)]), rng.randbytes(size)))
    return summed(block[:start] + value[:size].ljust(size, b"\0") + block[start + size :])


def _packed(rng: random.Random, body: bytes) -> bytes:
    kind = rng.randrange(4)
    if kind == 0:
        return body
    packed = gzip.compress(body, rng.choice((1, 9)), mtime=0)
    if kind == 1:
        cut = rng.randrange(len(body))
        packed = gzip.compress(body[:cut], mtime=0) + gzip.compress(body[cut:], mtime=0)
    return anyhow(rng, packed) if kind == 2 else packed
