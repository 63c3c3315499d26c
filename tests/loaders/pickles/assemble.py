"""Pickles put together opcode by opcode: what no honest pickler would write."""

from __future__ import annotations

import pickle
from struct import pack

PROTO_4 = b"\x80\x04"


def name(full: str) -> bytes:
    """GLOBAL: an object by its module and name."""
    module, _, attribute = full.partition(":")
    return b"c" + module.encode() + b"\n" + attribute.encode() + b"\n"


def stack_name(full: str) -> bytes:
    """STACK_GLOBAL: the same from two strings on the stack."""
    module, _, attribute = full.partition(":")
    return text(module) + text(attribute) + b"\x93"


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + pack("<I", len(data)) + data


def value(thing: object) -> bytes:
    """Anything plain, as pickle itself writes it, without its frame and its end."""
    return pickle.dumps(thing, 2)[2:-1]


def many(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def table(**items: bytes) -> bytes:
    return b"}(" + b"".join(text(k) + v for k, v in items.items()) + b"u"


def call(function: bytes, *args: bytes) -> bytes:
    """REDUCE."""
    return function + many(*args) + b"R"


def new(cls: bytes, *args: bytes) -> bytes:
    """NEWOBJ."""
    return cls + many(*args) + b"\x81"


def fill(target: bytes, state: bytes) -> bytes:
    """BUILD."""
    return target + state + b"b"


def done(body: bytes) -> bytes:
    return PROTO_4 + body + b"."


def dtype(spec: str, *, state: bytes | None = None) -> bytes:
    made = call(name("numpy:dtype"), text(spec), b"\x89", b"\x88")
    return made if state is None else fill(made, state)


def array(shape: bytes, kind: bytes, data: bytes) -> bytes:
    """A plain array of protocol 2 to 4."""
    empty = call(
        name("numpy._core.multiarray:_reconstruct"),
        name("numpy:ndarray"),
        value((0,)),
        b"C\x01b",
    )
    return fill(empty, many(value(1), shape, kind, b"\x89", data))


def raw(data: bytes) -> bytes:
    """BINBYTES."""
    return b"B" + pack("<I", len(data)) + data
