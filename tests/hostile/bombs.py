"""Pickles of few bytes that would take memory or time without end."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from struct import pack

from tests.hostile.machinery import LOGISTIC, get, put
from tests.hostile.sample import Sample
from tests.loaders.pickles.assemble import (
    call,
    done,
    dtype,
    fill,
    many,
    name,
    new,
    raw,
    table,
    text,
    value,
)
from tests.support.s3 import tar_of

_HASH = (1 << 61) - 1  # Python's: integers that differ by it have one hash
_NEIGHBOURS = "sklearn.neighbors._regression:KNeighborsRegressor"
_WRAPPER = "joblib.numpy_pickle:NumpyArrayWrapper"


def _doubled(first: bytes, pair: Callable[[bytes], bytes], times: int = 60) -> bytes:
    """``first``, twice in one, that twice in one, and so on; the last is on the stack."""
    out = first + put(0)
    for index in range(times):
        out += b"0" + pair(get(index)) + put(index + 1)
    return out


def _tuples() -> bytes:
    return _doubled(b")", lambda item: item + item + b"\x86")


def _lists() -> bytes:
    return _doubled(b"]", lambda item: b"](" + item + item + b"e")


def _dicts() -> bytes:
    return _doubled(b"}", lambda item: b"}(" + value(1) + item + value(2) + item + b"u")


def _frozensets() -> bytes:
    return _doubled(b"(\x91", lambda item: b"(" + item + item + value(0) + b"\x91")


def _filled(cls: str, **state: bytes) -> bytes:
    return fill(new(name(cls)), table(**state))


def _unions() -> bytes:
    scaler = _filled("sklearn.preprocessing._data:StandardScaler", n_features_in_=value(1))
    return _doubled(
        scaler,
        lambda item: _filled(
            "sklearn.pipeline:FeatureUnion",
            transformer_list=b"](" + many(text("a"), item) + many(text("b"), item) + b"e",
        ),
    )


def _kernels() -> bytes:
    kernels = "sklearn.gaussian_process.kernels:"
    kernel = _filled(kernels + "RBF", length_scale=value(1.0), length_scale_bounds=text("fixed"))
    return _doubled(kernel, lambda item: _filled(kernels + "Sum", k1=item, k2=item))


def _keys(keys: list[bytes]) -> bytes:
    return b"}(" + b"".join(key + b"N" for key in keys) + b"u"


def _complex(index: int) -> bytes:
    """All of them hash to the same."""
    return call(name("builtins:complex"), value(1e6 * index), value(-1e6 * index / 1000003))


def _grown() -> bytes:
    """A list that is looked at while it is short, and made long and deep afterwards."""
    early = _filled(LOGISTIC, coef_=b"]" + put(1000))
    return early + b"0" + _lists() + put(999) + b"0" + get(1000) + get(999) + b"a"


def _huge(opcode: bytes, size: bytes) -> bytes:
    return done(opcode + size)


_SAME = "again and again"
_BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    # sharing
    "a doubled tuple as a key": (lambda: done(b"}" + _tuples() + b"Ns"), "for a key"),
    "a doubled tuple in a set": (lambda: done(b"\x8f(" + _tuples() + b"\x90"), "for a key"),
    "a doubled tuple in a frozenset": (lambda: done(b"(" + _tuples() + b"\x91"), "for a key"),
    "a doubled tuple in an old dict": (lambda: done(b"(" + _tuples() + b"Nd"), "for a key"),
    "a doubled tuple as an argument": (
        lambda: done(call(name("builtins:set"), _tuples())),
        _SAME,
    ),
    "a doubled tuple as a pair's key": (
        lambda: done(call(name("collections:OrderedDict"), b"](" + many(_tuples(), b"N") + b"e")),
        _SAME,
    ),
    "a doubled tuple as an order": (
        lambda: done(
            fill(
                new(name(_WRAPPER)),
                table(shape=value((1,)), order=_tuples(), dtype=dtype("f8")),
            )
        ),
        _SAME,
    ),
    "doubled frozensets": (lambda: done(_frozensets()), "for a key"),
    "doubled lists": (lambda: done(_lists()), _SAME),
    "doubled dicts": (lambda: done(_dicts()), _SAME),
    "doubled lists as a version": (
        lambda: done(_filled(LOGISTIC, _sklearn_version=_lists())),
        _SAME,
    ),
    "doubled lists as an array": (
        lambda: done(
            _filled(_NEIGHBOURS, _fit_X=_lists(), n_features_in_=value(1), _fit_method=text("x"))
        ),
        _SAME,
    ),
    "doubled lists after the look": (lambda: done(_grown()), _SAME),
    "doubled unions": (lambda: done(_unions()), _SAME),
    "doubled kernels": (
        lambda: done(
            _filled("sklearn.gaussian_process._gpr:GaussianProcessRegressor", kernel_=_kernels())
        ),
        _SAME,
    ),
    "a list that holds itself": (lambda: done(b"]" + put(0) + get(0) + b"a"), "nested too deep"),
    "a pipeline that holds itself": (
        lambda: done(
            new(name("sklearn.pipeline:Pipeline"))
            + put(0)
            + table(steps=b"](" + many(text("a"), get(0)) + b"e")
            + b"b"
        ),
        "nested too deep",
    ),
    "one large list in many states": (
        lambda: done(
            b"]("
            + b"N" * 200_000
            + b"e"
            + put(0)
            + b"0]("
            + _filled("sklearn.utils._bunch:Bunch", a=get(0)) * 50_000
            + b"e"
        ),
        "again and again",
    ),
    # nesting
    "a million nested lists": (lambda: done(b"]" * 1_000_000 + b"a" * 999_999), "nested too deep"),
    "a million nested tuples": (lambda: done(b")" + b"\x85" * 1_000_000), "nested too deep"),
    "a million nested dicts": (
        lambda: done(b"}" + b"K\0}" * 1_000_000 + b"s" * 1_000_000),
        "nested too deep",
    ),
    "a million marks": (lambda: done(b"(" * 1_000_000 + b"t" * 999_999), "nested too deep"),
    "a million nested states": (
        lambda: done(b"}" + b"".join(name(LOGISTIC) + b")\x81" for _ in range(20_000)) + b"b" * 9),
        "",
    ),
    "a million nested arrays of objects": (
        lambda: done(
            (
                name(_WRAPPER)
                + b")\x81"
                + table(shape=value((1,)), order=text("C"), dtype=dtype("O8"))
                + b"b\x80\x04"
            )
            * 20_000
        ),
        "can't be unpickled",
    ),
    # keys
    "keys of one hash": (
        lambda: done(_keys([value(i * _HASH) for i in range(1, 50_000)])),
        "many keys of one hash",
    ),
    "items of one hash": (
        lambda: done(b"\x8f(" + b"".join(value(i * _HASH) for i in range(1, 50_000)) + b"\x90"),
        "many keys of one hash",
    ),
    "a set of one hash": (
        lambda: done(call(name("builtins:set"), value([i * _HASH for i in range(1, 50_000)]))),
        "many keys of one hash",
    ),
    "pairs of one hash": (
        lambda: done(
            call(
                name("collections:OrderedDict"),
                value([[i * _HASH, 0] for i in range(1, 20_000)]),
            )
        ),
        "many keys of one hash",
    ),
    "an integer of a million digits as a key": (
        lambda: done(b"}\x8b" + pack("<i", 415_000) + b"\x7f" * 415_000 + b"Ns"),
        "for a key",
    ),
    # announced sizes
    "BINBYTES8 of 2**60": (lambda: _huge(b"\x8e", pack("<Q", 1 << 60)), "more bytes"),
    "BINUNICODE8 of 2**63": (lambda: _huge(b"\x8d", pack("<Q", 1 << 63)), ""),
    "BYTEARRAY8 of 2**60": (lambda: _huge(b"\x96", pack("<Q", 1 << 60)), "more bytes"),
    "FRAME of 2**60": (lambda: _huge(b"\x95", pack("<Q", 1 << 60)), "more bytes"),
    "LONG4 of 2**31": (lambda: _huge(b"\x8b", pack("<I", (1 << 31) - 1)), "more bytes"),
    "LONG4 below zero": (lambda: _huge(b"\x8b", pack("<i", -1)), "negative"),
    "an array of 2**60": (
        lambda: done(
            fill(
                new(name(_WRAPPER)),
                table(shape=value((1 << 30, 1 << 30)), order=text("C"), dtype=dtype("f8")),
            )
        ),
        "more bytes",
    ),
    "an array of 2**40 objects": (
        lambda: done(
            fill(
                new(name(_WRAPPER)),
                table(shape=value((1 << 40,)), order=text("C"), dtype=dtype("O8")),
            )
            + done(b"N")
        ),
        "",
    ),
    "an array of texts of a gigabyte": (
        lambda: done(
            fill(
                new(name(_WRAPPER)),
                table(shape=value((1,)), order=text("C"), dtype=dtype("U268435456")),
            )
        ),
        "more bytes",
    ),
    "a shape of negative sizes": (
        lambda: done(
            fill(
                new(name(_WRAPPER)),
                table(shape=value((-1, -8)), order=text("C"), dtype=dtype("f8")),
            )
        ),
        "no library writes",
    ),
    "a sparse matrix without end": (
        lambda: done(
            _filled(
                "scipy.sparse._csr:csr_matrix",
                _shape=value((1 << 40, 1 << 40)),
                indptr=b"]",
                indices=b"]",
            )
        ),
        "",
    ),
    "a buffer that isn't there": (
        lambda: done(
            call(
                name("numpy._core.numeric:_frombuffer"),
                raw(b"x" * 8),
                dtype("f8"),
                value((1 << 60,)),
                text("C"),
            )
        ),
        "",
    ),
    # digits
    "an integer of a million digits": (lambda: b"I" + b"9" * 1_000_000 + b"\n.", "digits"),
    "a long of a million digits": (lambda: b"(L" + b"9" * 1_000_000 + b"L\nt.", "digits"),
    "a float of a million digits": (lambda: b"F" + b"9" * 1_000_000 + b"\n.", "float"),
    "a text without an end": (lambda: b"V" + b"a" * 5_000_000, "corrupt"),
    "a text of ten megabytes": (lambda: done(text("a" * 10_000_000)), "a str"),
    # many things
    "a million lists": (lambda: done(b"(" + b"]" * 1_000_000 + b"l"), ""),
    "a million sets": (lambda: zlib.compress(done(b"(" + b"\x8f" * 1_000_000 + b"l")), ""),
    "a million memos": (lambda: zlib.compress(done(b"N" + b"\x94" * 1_000_000)), ""),
    "a million marks, packed": (lambda: zlib.compress(done(b"(" * 1_000_000)), "nested too deep"),
    "a million in an archive": (
        lambda: tar_of({"m.pkl": done(b"\x8f" * 1_000_000)}),
        "",
    ),
}


def _zeros(megabytes: int) -> bytes:
    return b"\x80\x04\x8e" + pack("<Q", megabytes << 20) + bytes(megabytes << 20) + b"."


_PACKED: dict[str, tuple[Callable[[], bytes], str]] = {
    "zlib": (lambda: zlib.compress(_zeros(80)), "more bytes"),
    "gzip": (lambda: gzip.compress(_zeros(80)), "more bytes"),
    "bz2": (lambda: bz2.compress(_zeros(80)), "more bytes"),
    "xz": (lambda: lzma.compress(_zeros(80), preset=0), "more bytes"),
    "zlib in pieces": (
        lambda: zlib.compress(b"\x80\x04" + (b"B\0\0\x10\0" + bytes(1 << 20) + b"0") * 80 + b"N."),
        "far more than its size",
    ),
    "gzip in gzip": (lambda: gzip.compress(gzip.compress(_zeros(80))), ""),
    "gzip members without end": (lambda: gzip.compress(b"") * 200_000, ""),
    "xz of a huge dictionary": (
        lambda: lzma.compress(
            b"\x80\x04N.",
            lzma.FORMAT_ALONE,
            filters=[{"id": lzma.FILTER_LZMA1, "dict_size": (1 << 30) + (1 << 29), "preset": 0}],
        ),
        "",
    ),
}


def samples() -> Iterator[Sample]:
    for title, (make, says) in _BOMBS.items():
        suffix = ".tar.gz" if title.endswith("archive") else ".pkl"
        statuses = frozenset({422, 507})
        yield Sample(title, lambda c, make=make: make(), says, suffix, statuses, is_bomb=True)  # type: ignore[misc]
    for title, (make, says) in _PACKED.items():
        yield Sample(
            f"packed by {title}",
            lambda c, make=make: make(),  # type: ignore[misc]
            says,
            ".joblib",
            frozenset({422, 507}),
            is_bomb=True,
        )
