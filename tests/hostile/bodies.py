"""Hostile request bodies: nested, endless, wide, in wrong charsets, or carrying code."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from struct import pack

import numpy as np

from tests.hostile.machinery import touching
from tests.loaders.pickles.assemble import done

JSON = "application/json"
CSV = "text/csv"
NPY = "application/x-npy"
NPZ = "application/x-npz"
LINES = "application/jsonlines"
MIB = 1 << 20


@dataclass(frozen=True)
class Body:
    """``make`` gets the canary's folder; any 4xx will do where ``says`` is empty."""

    name: str
    content_type: str
    make: Callable[[str], bytes]
    says: str = ""
    encoding: str = ""  # of the content


def _npy(descr: str, shape: str, data: bytes = b"", *, version: bytes = b"\1\0") -> bytes:
    head = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    size = pack("<H", len(head)) if version == b"\1\0" else pack("<I", len(head))
    return b"\x93NUMPY" + version + size + head + data


def _npz(**members: bytes) -> bytes:
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name + ".npy", data)
    return out.getvalue()


def _saved(array: object) -> bytes:
    out = io.BytesIO()
    np.save(out, np.asarray(array), allow_pickle=True)
    return out.getvalue()


def _twice_named() -> bytes:
    """Two members of one name; what is read may not be what was looked at."""
    whole = _npz(a=_saved([[1.0] * 4]), b=_saved([[2.0] * 4]))
    return whole.replace(b"b.npy", b"a.npy")


_JSON: dict[str, tuple[Callable[[str], bytes], str]] = {
    "a million brackets": (lambda c: b"[" * 1_000_000, "nested too deep"),
    "a million braces": (lambda c: b'{"a":' * 1_000_000, "nested too deep"),
    "a million closed brackets": (lambda c: b"[" * 500_000 + b"]" * 500_000, "nested too deep"),
    "900 brackets": (lambda c: b"[" * 900 + b"]" * 900, ""),
    "a million digits": (lambda c: b"[[" + b"9" * 1_000_000 + b"]]", "digits"),
    "a million digits after the point": (lambda c: b"[[0." + b"1" * 1_000_000 + b"]]", ""),
    "4,000 digits": (lambda c: b"[[1,2,3," + b"9" * 4000 + b"]]", "row 0, column 3"),
    "1e400": (lambda c: b"[[1,2,3,1e400]]", "row 0, column 3"),
    "an exponent of a million digits": (lambda c: b"[[1e" + b"9" * 1_000_000 + b"]]", ""),
    "-Infinity": (lambda c: b"[[1,2,3,-Infinity]]", "row 0, column 3"),
    "a million keys": (
        lambda c: b"[{" + b",".join(b'"k%d":1' % i for i in range(300_000)) + b"}]",
        "row 0",
    ),
    "equal keys": (lambda c: b'{"instances":[[1,2,3,4]],"instances":[]}', "no rows"),
    "keys of one text": (lambda c: b"[{" + b'"a":1,' * 500_000 + b'"a":2}]', "row 0"),
    "a key of five megabytes": (lambda c: b'{"' + b"a" * (5 * MIB) + b'":1}', "instances"),
    "a text of five megabytes": (lambda c: b'[[1,2,3,"' + b"a" * (5 * MIB) + b'"]]', "column 3"),
    "a million empty rows": (lambda c: b"[" + b"[]," * 1_000_000 + b"[]]", "row 0"),
    "a million nulls": (lambda c: b"[" + b"null," * 1_000_000 + b"null]", ""),
    "a row of a million": (lambda c: b"[[" + b"1," * 1_000_000 + b"1]]", "row 0 has 1000001"),
    "a million blanks": (lambda c: b" " * 5_000_000, "empty"),
    "blanks and a comma": (lambda c: b"[" + b" " * 5_000_000 + b",]", "not JSON"),
    "half a surrogate": (lambda c: b'[["\\ud800",2,3,4]]', "row 0, column 0"),
    "a NUL": (lambda c: b"[[1,2,3,4]]\0", "not JSON"),
    "a NUL in a text": (lambda c: b'[["\0",2,3,4]]', "not JSON"),
    "UTF-16": (lambda c: "[[1,2,3,4]]".encode("utf-16"), "not utf-8"),
    "UTF-32": (lambda c: "[[1,2,3,4]]".encode("utf-32"), ""),
    "latin-1": (lambda c: '[["é",2,3,4]]'.encode("latin-1"), "not utf-8"),
    "two byte order marks": (lambda c: b"\xef\xbb\xbf" * 2 + b"[[1,2,3,4]]", "not JSON"),
    "over-long UTF-8": (lambda c: b'[["\xc0\xaf",2,3,4]]', "not utf-8"),
    "a pickle": (lambda c: done(touching(c)), "not utf-8"),
    "a lone quote": (lambda c: b'"' + b"\\" * 1_000_000, "not JSON"),
    "a million escapes": (lambda c: b'[["' + b"\\u0041" * 500_000 + b'"]]', ""),
    "an input of brackets": (
        lambda c: b'{"inputs":{"a":' + b"[" * 500 + b"1" + b"]" * 500 + b"}}",
        "",
    ),
    "a thousand inputs": (
        lambda c: b'{"inputs":{' + b",".join(b'"k%d":[1]' % i for i in range(1000)) + b"}}",
        "",
    ),
    "features in features": (
        lambda c: b"[" + b'{"features":' * 300 + b"1" + b"}" * 300 + b"]",
        "",
    ),
}
_CSV: dict[str, tuple[Callable[[str], bytes], str]] = {
    "a million columns": (lambda c: b"1," * 1_000_000 + b"1", "1000001"),
    "a million columns, quoted": (lambda c: b'"1",' * 1_000_000 + b"1", "1000001"),
    "a million lines": (lambda c: b"1\n" * 1_000_000, "1"),
    "a million empty lines": (lambda c: b"1,2,3,4" + b"\n" * 1_000_000 + b"5", "row 1"),
    "a cell of five megabytes": (lambda c: b"1,2,3," + b"a" * (5 * MIB), "column 3"),
    "a number of a million digits": (lambda c: b"1,2,3," + b"9" * 1_000_000, ""),
    "a quoted cell of five megabytes": (
        lambda c: b'1,2,3,"' + b'""' * (2 * MIB) + b'"',
        "column 3",
    ),
    "a quote without an end": (lambda c: b'1,2,3,"' + b"a\n" * 1_000_000, "never closed"),
    "quotes": (lambda c: b'"' * 1_000_001, "quote"),
    "blanks and quotes": (lambda c: (b" " * 100 + b'"') * 40_000, ""),
    "blanks before a quote": (lambda c: b" " * 4_000_000 + b'"', "never closed"),
    "text after a quote": (lambda c: b'1,2,3,"4"x', "after a cell's closing quote"),
    "NULs": (lambda c: b"\0" * 1_000_000, "NUL"),
    "a NUL": (lambda c: b"1,2,3,\0004", "NUL"),
    "UTF-16": (lambda c: "1,2,3,4".encode("utf-16"), "not utf-8"),
    "a byte order mark only": (lambda c: b"\xef\xbb\xbf", "empty"),
    "two byte order marks": (lambda c: b"\xef\xbb\xbf" * 2 + b"1,2,3,4\n1,2,3,4", ""),
    "a formula": (lambda c: b"1,2,3,\"=cmd|'/C calc'!A0\"\n1,2,3,4", ""),
    "vertical tabs": (lambda c: b"1\x0b2\x0c3,4", ""),
    "1e400": (lambda c: b"1,2,3,1e400", ""),
    "digits of another script": (lambda c: "1,2,3,\u0664x".encode(), ""),
    "underscores in a number": (lambda c: b"1,2,3,1__0", ""),
    "hexadecimal": (lambda c: b"1,2,3,0x10", ""),
    "a pickle": (lambda c: done(touching(c)), "not utf-8"),
}
_ARRAYS: dict[str, tuple[str, Callable[[str], bytes], str]] = {
    "npy of pickles": (NPY, lambda c: _npy("'|O'", "(1,)", done(touching(c))), ""),
    "npy of fields of pickles": (
        NPY,
        lambda c: _npy("[('a', 'O')]", "(1,)", done(touching(c))),
        "",
    ),
    "npy of pickles in fields of fields": (
        NPY,
        lambda c: _npy("[('a', [('b', 'O')])]", "(1,)", done(touching(c))),
        "",
    ),
    "npy of what runs": (NPY, lambda c: _npy(f"__import__('os').mkdir('{c}/ran')", "(1,)"), ""),
    "npy of a shape that runs": (NPY, lambda c: _npy("'<f8'", "(exit(),)"), ""),
    "npy of 2**60": (NPY, lambda c: _npy("'<f8'", f"({1 << 60},)"), ""),
    "npy of 2**30 by 2**40": (NPY, lambda c: _npy("'<f8'", f"({1 << 30}, {1 << 40})"), ""),
    "npy of negative sizes": (NPY, lambda c: _npy("'<f8'", "(-1, 4)"), ""),
    "npy of endless empties": (NPY, lambda c: _npy("'<U0'", f"({1 << 50},)"), ""),
    "npy of texts too wide": (NPY, lambda c: _npy("'<U999999999'", "(0,)"), ""),
    "npy of 70 axes": (NPY, lambda c: _npy("'<f8'", "(" + "1," * 70 + ")", bytes(8)), ""),
    "npy of a deep header": (NPY, lambda c: _npy("(" * 5000 + ")" * 5000, "(1,)"), ""),
    "npy of a header of 4 GB": (NPY, lambda c: b"\x93NUMPY\2\0\xff\xff\xff\xff" + bytes(99), ""),
    "npy of a subarray": (NPY, lambda c: _npy(f"('<f8', ({1 << 40},))", "(1,)"), ""),
    "npy cut short": (NPY, lambda c: _npy("'<f8'", "(1, 4)", bytes(7)), ""),
    "npy of version 9": (NPY, lambda c: _npy("'<f8'", "(1, 4)", bytes(32), version=b"\x09\0"), ""),
    "npy of a bool as size": (NPY, lambda c: _npy("'<f8'", "(True, 4)", bytes(32)), ""),
    "npy of nothing": (NPY, lambda c: b"", ""),
    "npy of void": (NPY, lambda c: _npy("'|V8'", "(1, 4)", bytes(32)), ""),
    "a bare pickle as npy": (NPY, lambda c: done(touching(c)), ""),
    "npz of pickles": (NPZ, lambda c: _npz(a=_npy("'|O'", "(1,)", done(touching(c)))), ""),
    "npz of names that lead away": (NPZ, lambda c: _npz(**{"../ran": _saved([[1.0] * 4])}), ""),
    "npz of zeros": (NPZ, lambda c: _npz(a=_npy("'<f8'", f"({8 * MIB}, 4)", bytes(256 * MIB))), ""),
    "npz of 2**60": (NPZ, lambda c: _npz(a=_npy("'<f8'", f"({1 << 60},)")), ""),
    "npz of two of one name": (NPZ, lambda c: _twice_named(), ""),
    "npz cut short": (NPZ, lambda c: _npz(a=_saved([[1.0] * 4]))[:-30], ""),
    "npz of a sparse matrix beside itself": (
        NPZ,
        lambda c: _npz(
            format=_saved(np.array(b"csr")),
            shape=_saved([1, 4]),
            indices=_saved(np.array([1 << 30], np.int32)),
            indptr=_saved(np.array([0, 1], np.int32)),
            data=_saved([1.0]),
        ),
        "",
    ),
    "npz of a sparse matrix without end": (
        NPZ,
        lambda c: _npz(
            format=_saved(np.array(b"csr")),
            shape=_saved([1 << 40, 1 << 40]),
            indices=_saved(np.array([0], np.int32)),
            indptr=_saved(np.array([0, 1], np.int32)),
            data=_saved([1.0]),
        ),
        "",
    ),
    "npz of a sparse matrix of pickles": (
        NPZ,
        lambda c: _npz(format=_npy("'|O'", "()", done(touching(c))), data=_saved([1.0])),
        "",
    ),
    "json lines of brackets": (LINES, lambda c: b"[" * 1_000_000, ""),
    "json lines of a million empties": (LINES, lambda c: b"[]\n" * 1_000_000, ""),
    "json lines of digits": (LINES, lambda c: b"[" + b"9" * 1_000_000 + b"]", ""),
    "json lines of pickles": (LINES, lambda c: done(touching(c)), ""),
    "pickles": ("application/x-pickle", lambda c: done(touching(c)), ""),
    "joblib": ("application/python-pickle", lambda c: done(touching(c)), ""),
}
_ENCODED: dict[str, tuple[str, Callable[[str], bytes]]] = {
    "a gzip bomb": ("gzip", lambda c: gzip.compress(b" " * (300 * MIB), 1)),
    "a gzip of gzip": ("gzip", lambda c: gzip.compress(gzip.compress(b" " * (100 * MIB), 1))),
    "a gzip cut short": ("gzip", lambda c: gzip.compress(b"[[1,2,3,4]]")[:-9]),
    "a gzip of a wrong checksum": (
        "gzip",
        lambda c: gzip.compress(b"[[1,2,3,4]]")[:-8] + b"\1\2\3\4\5\6\7\x08",
    ),
    "gzip members without end": ("gzip", lambda c: gzip.compress(b"") * 100_000),
    "no gzip": ("gzip", lambda c: b"[[1,2,3,4]]"),
    "garbage after gzip": ("gzip", lambda c: gzip.compress(b"[[1,2,3,4]]") + b"junk"),
    "a deflate bomb": ("deflate", lambda c: zlib.compress(b" " * (100 * MIB), 1)),
    "an encoding nobody knows": ("magic", lambda c: b"[[1,2,3,4]]"),
    "gzip nine times": (", ".join(["gzip"] * 9), lambda c: gzip.compress(b"[[1,2,3,4]]")),
}


def bodies() -> Iterator[Body]:
    for kind, table in ((JSON, _JSON), (CSV, _CSV)):
        for title, (make, says) in table.items():
            yield Body(f"{kind} {title}", kind, make, says)
    for title, (kind, make, says) in _ARRAYS.items():
        yield Body(title, kind, make, says)
    for title, (encoding, make) in _ENCODED.items():
        yield Body(title, JSON, make, "", encoding)


TARGETS: dict[str, bytes] = {
    "up": b"../canary/data.pkl",
    "encoded up": b"%2e%2e/canary/data.pkl",
    "absolute": b"/etc/passwd",
    "a url": b"file:///etc/passwd",
    "a NUL": b"good.joblib\0.png",
    "backslashes": b"..\\..\\data.pkl",
    "over-long UTF-8": b"..\xc0\xafdata.pkl",
    "of two kilobytes": b"a" * 2000,
    "a thousand folders": b"a/" * 400 + b"m.joblib",
    "right to left": "good\u202ebilboj.tar".encode(),
    "a template": b"${jndi:ldap://127.0.0.1/a}",
    "a question": b"a?prefix=../",
    "hidden": b".git/config",
    "a device": b"con.joblib",
}
