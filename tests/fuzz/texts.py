"""Bodies, manifests and target names, grown from small grammars and then damaged."""

from __future__ import annotations

import json
import random
from typing import Any

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
_MANIFEST: dict[str, tuple[Any, ...]] = {
    "format": ("sklearn", "onnx", "é", None),
    "entry": ("a", "a/b", "é/x.pkl", "./a", "a//b"),
    "method": ("predict", "_x", None),
    "signature": (
        {},
        {"inputs": [{"name": "a", "dtype": "float32", "shape": [None, 4]}], "outputs": []},
        {"outputs": [{}, {"name": "", "shape": []}], "more": 1},
    ),
    "batchable": (True, False, None),
    "versions": ({}, {"Python": "3.11", "scikit_learn": "1.2.2"}, {"": ""}),
    "files": ({}, {"a/b": "0" * 64}, {"a": "A" * 64}),
    "options": ({}, {"providers": ["x"], "n": 1 << 70}),
    "unknown": (1, [], {}),
}


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


def manifest(rng: random.Random) -> bytes:
    """One that would be read, but for a value here and there."""
    document = {key: rng.choice(_MANIFEST[key]) for key in rng.sample(list(_MANIFEST), 4)}
    kind = rng.randrange(5)
    if kind == 1:
        document[rng.choice(list(_MANIFEST))] = _any(rng)
    elif kind == 2:
        document["entry"] = rng.choice(("../x", "/x", "a\\b", "a\0b", "", ".", "a/../b"))
    elif kind == 3:
        tensor = {"name": "a", "dtype": "f", "shape": [2, None]}
        tensor[rng.choice(("name", "dtype", "shape"))] = _any(rng)
        document["signature"] = {rng.choice(("inputs", "outputs")): [tensor]}
    body = json.dumps(document).encode("utf-8", "surrogatepass")
    return anyhow(rng, body) if kind == 4 else body


def target(rng: random.Random) -> bytes:
    parts = (b"a", b"..", b".", b"", b"%2e%2e", b"\xff", b"\0", "é".encode(), b".h", b"a\\b", b" ")
    name = b"/".join(rng.choice(parts) for _ in range(rng.choice((1, 2, 5))))
    return _maybe_damaged(rng, name + rng.choice((b"", b".joblib", b".tar.gz", b"/")))
