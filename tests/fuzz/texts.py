"""Bodies, manifests and target names, grown from small grammars and then damaged."""

from __future__ import annotations

import io
import json
import random
import zipfile
from typing import Any

import numpy as np

from tests.fuzz.bytes import anyhow

_TEXTS = (
    "",
    "a",
    "é",
    "\u202e",
    "\ud800",
    "\0",
    '"',
    "\\",
    ",",
    "\n",
    "nan",
    "1e400",
    " 1 ",
    "=1+1",
)
_NUMBERS = (0, -1, 1.5, 1e308, -1e-320, float("nan"), float("inf"), 1 << 70, 10**400, True)
_DTYPES = ("<f8", ">f4", "<i8", "|u1", "?", "<U3", "|S2", "<f2", "<M8[s]", "<c16", "|V4", "|O")


def _any(rng: random.Random, depth: int = 0) -> Any:
    kind = rng.randrange(9 if depth < 4 else 6)
    if kind < 3:
        return rng.choice(_NUMBERS)
    if kind < 5:
        return rng.choice(_TEXTS)
    if kind == 5:
        return None
    count = rng.choice((0, 1, 2, 4))
    if kind < 8:
        return [_any(rng, depth + 1) for _ in range(count)]
    return {
        rng.choice((*_TEXTS, "features", "data", "values")): _any(rng, depth + 1)
        for _ in range(count)
    }


def _rows(rng: random.Random) -> Any:
    width = rng.choice((0, 1, 4, 4, 4, 5))
    return [[rng.choice(_NUMBERS) for _ in range(width)] for _ in range(rng.choice((0, 1, 3)))]


def _maybe_damaged(rng: random.Random, data: bytes) -> bytes:
    return anyhow(rng, data) if rng.random() < 0.5 else data


def json_body(rng: random.Random) -> bytes:
    inner = rng.choice((_any, _rows))(rng)
    form = rng.choice(("instances", "inputs", "", "signature_name"))
    document = {form: inner} if form else inner
    if form == "inputs" and rng.random() < 0.7:
        document = {form: {rng.choice(_TEXTS): inner, "b": _rows(rng)}}
    return _maybe_damaged(rng, json.dumps(document).encode("utf-8", "surrogatepass"))


def json_lines(rng: random.Random) -> bytes:
    lines = [json.dumps(rng.choice((_any, _rows))(rng)) for _ in range(rng.choice((1, 2, 5)))]
    return _maybe_damaged(rng, rng.choice(("\n", "\r\n", "\n\n")).join(lines).encode())


def csv_body(rng: random.Random) -> bytes:
    cells = (*_TEXTS, *map(str, _NUMBERS), '"a"', '"a""b"', '" a', 'a"b', '"a" b', "\t1", '"\n"')
    ends = ("\n", "\r\n", "\r", "\n\n")
    width = rng.choice((1, 4, 4))
    text = "".join(
        ",".join(rng.choice(cells) for _ in range(width)) + rng.choice(ends)
        for _ in range(rng.choice((1, 3, 9)))
    )
    return _maybe_damaged(rng, text.encode("utf-8", "surrogatepass"))


def npy(rng: random.Random) -> bytes:
    if rng.random() < 0.5:
        shape = rng.choice(((2, 4), (4,), (), (0, 4), (1, 2, 2)))
        kind = rng.choice(_DTYPES[:-1])
        out = io.BytesIO()
        np.save(out, np.zeros(shape, kind))
        return anyhow(rng, out.getvalue())
    sizes = rng.choice(
        ("(2, 4)", "(1 << 60,)", f"({1 << 60},)", "(-1,)", "()", "(True,)", "4", "(4")
    )
    descr = rng.choice((*map(repr, _DTYPES), "[('a', '<f8')]", "('<f8', (2,))", "1", "'<f8' * 9"))
    head = (
        f"{{'descr': {descr}, 'fortran_order': {rng.choice((False, True, 2))}, 'shape': {sizes}}}\n"
    )
    data = head.encode()
    return b"\x93NUMPY\1\0" + len(data).to_bytes(2, "little") + data + bytes(rng.choice((0, 64)))


def npz(rng: random.Random) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(
        out, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    ) as archive:
        for name in rng.sample(
            ("a", "../b", "data", "indices", "indptr", "shape", "format", ""), 3
        ):
            archive.writestr(name + ".npy", npy(rng))
    return _maybe_damaged(rng, out.getvalue())


def manifest(rng: random.Random) -> bytes:
    keys = ("format", "entry", "method", "signature", "batchable", "versions", "files", "options")
    document: dict[str, Any] = {key: _any(rng) for key in rng.sample(keys, 3)}
    if rng.random() < 0.5:
        document["entry"] = rng.choice(("../x", "/x", "a/b", "a\\b", "a\0b", "", ".", "é"))
        document["signature"] = {"inputs": [{"name": "a", "dtype": "f", "shape": _any(rng)}]}
    return _maybe_damaged(rng, json.dumps(document).encode())


def target(rng: random.Random) -> bytes:
    parts = (b"a", b"..", b".", b"", b"%2e%2e", b"\xff", b"\0", "é".encode(), b".h", b"a\\b", b" ")
    name = b"/".join(rng.choice(parts) for _ in range(rng.choice((1, 2, 5))))
    return _maybe_damaged(rng, name + rng.choice((b"", b".joblib", b".tar.gz", b"/")))
