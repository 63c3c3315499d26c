"""Hostile archives: names and links that lead away, bombs, headers that lie, streams that break."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import zstandard

from tests.hostile.sample import Sample
from tests.support.models import constant, dumped
from tests.support.s3 import tar_of

BLOCK = 512
END = b"\0" * 2 * BLOCK


def header(name: str | bytes, **fields: Any) -> bytes:
    """One header as GNU tar writes it, its checksum right whatever it says."""
    info = tarfile.TarInfo("x")
    for key, item in fields.items():
        if key != "raw":
            setattr(info, key, item)
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT)[-BLOCK:])
    block[:100] = (name if isinstance(name, bytes) else name.encode())[:100].ljust(100, b"\0")
    for start, data in fields.get("raw", {}).items():
        block[start : start + len(data)] = data
    return summed(block)


def summed(block: bytes | bytearray) -> bytes:
    """A header with the checksum that its bytes have."""
    whole = bytearray(block)
    whole[148:156] = b" " * 8
    whole[148:156] = b"%06o\0 " % sum(whole)
    return bytes(whole)


def padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % BLOCK)


def file(name: str | bytes, data: bytes = b"x", **fields: Any) -> bytes:
    return header(name, size=len(data), **fields) + padded(data)


def link(name: str, target: str, *, symbolic: bool = True) -> bytes:
    return header(name, type=tarfile.SYMTYPE if symbolic else tarfile.LNKTYPE, linkname=target)


def pax(*records: bytes, kind: bytes = tarfile.XHDTYPE) -> bytes:
    body = b"".join(records)
    return header("pax", type=kind, size=len(body)) + padded(body)


def record(key: bytes, data: bytes) -> bytes:
    """``length key=value`` and a newline, the length counting itself."""
    rest = b" " + key + b"=" + data + b"\n"
    size = len(rest) + 1
    while len(b"%d" % size) + len(rest) != size:
        size += 1
    return b"%d" % size + rest


def long_name(data: bytes, *, kind: bytes = tarfile.GNUTYPE_LONGNAME) -> bytes:
    return header("././@LongLink", type=kind, size=len(data)) + padded(data)


def _model() -> bytes:
    return file("model.joblib", dumped(constant(1.0)))


def _with(*parts: bytes) -> bytes:
    """An archive of a good model and these."""
    return _model() + b"".join(parts) + END


def _base256(size: int) -> dict[int, bytes]:
    return {124: struct.pack(">Bxxxq", 0xFF if size < 0 else 0x80, size)}


_NAMES: dict[str, tuple[Callable[[str], str | bytes], str]] = {
    "up": (lambda c: "../ran", "leaves its folder"),
    "far up": (lambda c: "../" * 30 + c[1:] + "/ran", "leaves its folder"),
    "up within": (lambda c: "a/../../ran", "leaves its folder"),
    "up and down": (lambda c: "a/../b", "leaves its folder"),
    "up at the end": (lambda c: "a/b/..", "leaves its folder"),
    "only up": (lambda c: "..", "leaves its folder"),
    "absolute": (lambda c: f"{c}/ran", "absolute"),
    "absolute twice": (lambda c: f"//{c}/ran", "absolute"),
    "a sibling's prefix": (lambda c: "../inside-evil/ran", "leaves its folder"),
    "with a newline": (lambda c: "a\nb", "control characters"),
    "with an escape": (lambda c: "a\x1b[2Jb", "control characters"),
    "with a delete": (lambda c: "a\x7fb", "control characters"),
    "in latin-1": (lambda c: "mod\xe8le".encode("latin-1"), "UTF-8"),
    "in UTF-16": (lambda c: "model".encode("utf-16"), "UTF-8"),
    "half a surrogate": (lambda c: b"a\xed\xa0\x80b", "UTF-8"),
    "over-long UTF-8": (lambda c: b"..\xc0\xafran", "UTF-8"),
}
_KINDS: dict[str, tuple[bytes, str]] = {
    "character device": (tarfile.CHRTYPE, "device or pipe"),
    "block device": (tarfile.BLKTYPE, "device or pipe"),
    "pipe": (tarfile.FIFOTYPE, "device or pipe"),
    "sparse file": (tarfile.GNUTYPE_SPARSE, "sparse"),
    "volume": (b"V", "unknown type"),
    "continued file": (b"M", "unknown type"),
    "dump of a folder": (b"D", "unknown type"),
    "unknown": (b"Z", "unknown type"),
    "of byte 255": (b"\xff", "unknown type"),
}
_OTHERS: dict[str, tuple[Callable[[str], bytes], str]] = {
    # links
    "a link to a folder outside": (lambda c: _with(link("l", c), file("l/ran")), ""),
    "a link up": (lambda c: _with(link("l", "../.."), file("l/ran")), "leaves its folder"),
    "a link to here": (lambda c: _with(link("l", "."), file("l/ran")), "file and as a folder"),
    "a hard link outside": (
        lambda c: _with(link("l", f"{c}/precious", symbolic=False)),
        "absolute",
    ),
    "a hard link up": (
        lambda c: _with(link("l", "../canary/precious", symbolic=False)),
        "leaves its folder",
    ),
    "a file over a link": (lambda c: _with(link("l", "model.joblib"), file("l")), "twice"),
    "a link over a file": (lambda c: _with(file("l"), link("l", "model.joblib")), "twice"),
    "a link to itself": (lambda c: _with(link("l", "l")), "none of its files"),
    "links in a circle": (lambda c: _with(link("a", "b"), link("b", "a")), "none of its files"),
    "a link of a long name": (
        lambda c: _with(long_name(b"../" * 200 + b"x", kind=b"K"), link("l", "x")),
        "leaves its folder",
    ),
    "a link with a NUL": (
        lambda c: _with(pax(record(b"linkpath", b"a\0/../..")), link("l", "x")),
        "leaves its folder",
    ),
    # members that are each other
    "twice the same": (lambda c: _with(file("a"), file("a")), "twice"),
    "twice by a dot": (lambda c: _with(file("a"), file("./a")), "twice"),
    "twice by slashes": (lambda c: _with(file("b/a"), file("b//a")), "twice"),
    "a folder and a file": (lambda c: _with(file("a/b"), file("a")), "twice"),
    "a file and a folder": (lambda c: _with(file("a"), file("a/b")), "as a folder"),
    "a folder over a file": (lambda c: _with(file("a"), header("a/", type=b"5")), "twice"),
    # bombs
    "a name of a kilobyte": (
        lambda c: _with(long_name(b"a/" * 600), file("x")),
        "over-long name",
    ),
    "a part of 300 bytes": (lambda c: _with(long_name(b"a" * 300), file("x")), "over-long name"),
    "forty folders deep": (lambda c: _with(file("a/" * 40 + "b")), "deeper than 32"),
    "eleven thousand members": (
        lambda c: b"".join(file(f"f{i}", b"") for i in range(11_000)) + END,
        "more than 10,000 members",
    ),
    "folders that only names bring": (
        lambda c: b"".join(file(f"{i}/" + "a/" * 20 + "b", b"") for i in range(1000)) + END,
        "more than 10,000 folders",
    ),
    "a petabyte that is announced": (
        lambda c: header("model.joblib", raw=_base256(1 << 50)) + b"x" * 5000,
        "unpacks to more than",
    ),
    "zeros without end": (
        lambda c: gzip.compress(header("m", size=96 << 20) + bytes(96 << 20), 1),
        "200 times",
    ),
    "zeros in many members": (
        lambda c: gzip.compress(file("a", bytes(1 << 20)) * 90 + END),
        "twice",
    ),
    "zeros after the end": (
        lambda c: gzip.compress(_model() + END + bytes(40 << 20)),
        "after its end mark",
    ),
    "tiny gzip members": (
        lambda c: gzip.compress(_model() + END) + gzip.compress(b"") * 30_000,
        "many gzip members",
    ),
    # headers that lie
    "a size of less than there is": (
        lambda c: header("m", size=3) + padded(b"x" * 2000) + END,
        "corrupt",
    ),
    "a size of more than there is": (lambda c: header("m", size=1 << 20) + END, "truncated"),
    "a negative size": (
        lambda c: _with(header("m", raw=_base256(-5))),
        "corrupt",
    ),
    "a size of 2**63": (
        lambda c: _with(header("m", raw={124: b"\x80" + b"\xff" * 11})),
        "unpacks to more than",
    ),
    "a size that is no number": (
        lambda c: _with(header("m", raw={124: b"12x456789ab"})),
        "corrupt",
    ),
    "a mode of nothing": (lambda c: _with(header("m", raw={100: b"zzzzzzz"})), "corrupt"),
    "a wrong checksum": (lambda c: _model() + b"\1" + header("m")[1:] + END, "checksum"),
    "an owner of 2**90": (
        lambda c: _with(header("m", raw={108: b"\x80" + b"\xff" * 7})) + b"x",
        "after its end mark",
    ),
    "a folder with a size": (
        lambda c: _with(header("d/", type=b"5", size=600), b"x" * 1024),
        "corrupt",
    ),
    "half an end mark": (lambda c: _model() + b"\0" * BLOCK, "truncated"),
    "half an end mark, and more": (
        lambda c: _model() + b"\0" * BLOCK + file("a"),
        "half of its end mark",
    ),
    "no end mark": (lambda c: _model(), "without its end mark"),
    "more after the end mark": (lambda c: _with() + _with(file("a")), "after its end mark"),
    # extended headers
    "a pax path up": (lambda c: _with(pax(record(b"path", b"../ran")), file("x")), "leaves its"),
    "a pax path with a NUL": (
        lambda c: _with(pax(record(b"path", b"a\0b")), file("x")),
        "control characters",
    ),
    "a pax path of 1 MB": (
        lambda c: _with(pax(record(b"path", b"a/" * 500_000)), file("x")),
        "over-long name",
    ),
    "a pax size of a petabyte": (
        lambda c: _with(pax(record(b"size", b"1125899906842624")), file("x")),
        "unpacks to more than",
    ),
    "a pax size below zero": (
        lambda c: _with(pax(record(b"size", b"-1")), file("x")),
        "is no number",
    ),
    "a pax size of many digits": (
        lambda c: _with(pax(record(b"size", b"9" * 5000)), file("x")),
        "is no number",
    ),
    "a pax size in other digits": (
        lambda c: _with(pax(record(b"size", "\u0661".encode())), file("x")),
        "is no number",
    ),
    "a pax record without a length": (lambda c: _with(pax(b"path=x\n"), file("x")), "no length"),
    "a pax record of length 0": (lambda c: _with(pax(b"0 path=x\n"), file("x")), "breaks off"),
    "a pax record that is too long": (
        lambda c: _with(pax(b"999999 path=x\n"), file("x")),
        "breaks off",
    ),
    "a pax record of many digits": (
        lambda c: _with(pax(b"9" * 5000 + b" path=x\n"), file("x")),
        "corrupt",
    ),
    "a pax header of 2 MB": (
        lambda c: _with(pax(record(b"comment", b"x" * (2 << 20))), file("x")),
        "extended header of",
    ),
    "a pax header of a petabyte": (
        lambda c: _with(header("pax", type=b"x", raw=_base256(1 << 50))),
        "extended header of",
    ),
    "pax headers without end": (
        lambda c: _model() + pax(record(b"path", b"x")) * 5000 + END,
        "without a member",
    ),
    "global pax headers without end": (
        lambda c: _model() + pax(record(b"path", b"x"), kind=b"g") * 5000 + END,
        "without a member",
    ),
    "long names without end": (lambda c: _model() + long_name(b"a\0") * 5000, "without a member"),
    "a long name of 2 MB": (
        lambda c: _with(long_name(b"a" * (2 << 20)), file("x")),
        "extended header of",
    ),
    "a long name up": (lambda c: _with(long_name(b"../ran\0"), file("x")), "leaves its folder"),
    "a long name and no member": (lambda c: _with(long_name(b"abc\0")), "without a member"),
    "a sparse file by pax": (
        lambda c: _with(pax(record(b"GNU.sparse.major", b"1")), file("x")),
        "sparse",
    ),
    # what is in what
    "garbage after gzip": (lambda c: gzip.compress(_with()) + b"garbage", "no gzip"),
    "a zstd bomb": (
        lambda c: zstandard.compress(header("m", size=96 << 20) + bytes(96 << 20)),
        "200 times",
    ),
    "a zstd of a huge window": (
        lambda c: b"\x28\xb5\x2f\xfd\x00\xf0" + bytes(40),
        "",
    ),
    "a zstd without an end": (lambda c: zstandard.compress(_with())[:-9], "truncated"),
    "garbage after zstd": (lambda c: zstandard.compress(_with()) + b"garbage", ""),
    "zstd in gzip": (lambda c: gzip.compress(zstandard.compress(_with())), "no tar inside"),
    "gzip in gzip": (lambda c: gzip.compress(gzip.compress(_with())), "no tar inside"),
    "a gzip of another method": (lambda c: b"\x1f\x8b\x07\0" + bytes(30), "corrupt"),
    "a gzip without an end": (lambda c: gzip.compress(_with())[:-9], "truncated"),
    "a gzip of a wrong length": (
        lambda c: gzip.compress(_with())[:-4] + b"\1\2\3\4",
        "checksum or length",
    ),
    "a flipped bit": (lambda c: _flipped(gzip.compress(_with())), "corrupt"),
    "a tar in a tar": (lambda c: tar_of({"inner.tar": _with()}), "tar archive"),
    "a tar.gz in a tar": (lambda c: tar_of({"model.tar.gz": gzip.compress(_with())}), "archive"),
    "only folders": (lambda c: header("a/", type=b"5") + END, "no files"),
    "only hidden files": (lambda c: file(".model.joblib", dumped(constant(1.0))) + END, "no files"),
    "nothing": (lambda c: b"", "not an archive"),
    "only an end mark": (lambda c: END, "no files"),
    "one NUL": (lambda c: b"\0", "not an archive"),
    "text": (lambda c: b"#!/bin/sh\ntouch " + c.encode() + b"/ran\n", "not an archive"),
    "bz2 inside": (lambda c: bz2.compress(_with()), "not an archive"),
    "xz inside": (lambda c: lzma.compress(_with()), "not an archive"),
    "bare deflate": (lambda c: zlib.compress(_with()), "not an archive"),
    "a zip before a tar": (lambda c: b"PK\x03\x04" + _with()[4:], "not an archive"),
    "two models by case": (
        lambda c: file("Model.joblib", dumped(constant(1.0))) + _with(),
        "several models",
    ),
    "two models by normal form": (
        lambda c: (
            file("é.joblib", dumped(constant(1.0)))
            + file("e\u0301.joblib", dumped(constant(1.0)))
            + END
        ),
        "several models",
    ),
    "a manifest that leads out": (
        lambda c: tar_of({"manifest.json": b'{"entry": "../canary/data.pkl"}'}),
        "inside the artifact",
    ),
    "a manifest of brackets": (
        lambda c: tar_of({"manifest.json": b"[" * 100_000, "m.joblib": b"x"}),
        "isn't valid JSON",
    ),
    "a manifest of digits": (
        lambda c: tar_of({"manifest.json": b"9" * 100_000, "m.joblib": b"x"}),
        "isn't valid JSON",
    ),
    "a manifest of 2 MB": (
        lambda c: tar_of({"manifest.json": b" " * (2 << 20), "m.joblib": b"x"}),
        "is larger than",
    ),
    "code in a folder": (
        lambda c: tar_of({"a/code/x.py": f"open('{c}/ran', 'w')".encode(), "m.joblib": b"x"}),
        "code",
    ),
}


def _flipped(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 0x10]) + body[middle + 1 :]


def samples() -> Iterator[Sample]:
    for title, (make_name, says) in _NAMES.items():
        yield Sample(
            f"name {title}",
            lambda c, make=make_name: _named(make(c)),  # type: ignore[misc]
            says,
            ".tar.gz",
        )
        yield Sample(
            f"folder's name {title}",
            lambda c, make=make_name: gzip.compress(  # type: ignore[misc]
                _with(_long(make(c)), header("x", type=b"5"))
            ),
            says,
            ".tar.gz",
        )
    for title, (kind, says) in _KINDS.items():
        yield Sample(
            f"member {title}",
            lambda c, kind=kind: _with(header("x", type=kind)),  # type: ignore[misc]
            says,
            ".tar",
        )
    for title, (make, says) in _OTHERS.items():
        yield Sample(title, make, says, ".tar")


def _long(name: str | bytes) -> bytes:
    return long_name((name if isinstance(name, bytes) else name.encode()) + b"\0")


def _named(name: str | bytes) -> bytes:
    return _with(_long(name), file("x"))


def harmless() -> dict[str, bytes]:
    """What only looks odd: served like any other, and nothing of it is outside or executable."""
    return {
        "backslashes": _with(file("..\\..\\ran")),
        "a drive": _with(file("C:\\ran")),
        "setuid": _with(file("s", b"#!", mode=0o6777)),
        "for everybody to write": _with(
            file("w", b"x", mode=0o777), header("d/", type=b"5", mode=0o777)
        ),
        "of root": _with(file("r", b"x", uid=0, gid=0, uname="root")),
        "of the year 2900": _with(file("y", b"x", mtime=1 << 34)),
        "a name without a sense": _with(file("$(touch ran); rm -rf *")),
        "a name of hangul": _with(file("\uac00\u1100\u1161")),
    }


def swept() -> Iterator[bytes]:
    """A small archive cut at every block."""
    whole = _with(file("a", b"y" * 1500), link("b", "a"), pax(record(b"path", b"c")), file("x"))
    for cut in range(0, len(whole) - BLOCK, BLOCK):
        yield whole[:cut]
