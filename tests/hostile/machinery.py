"""Pickles that misuse the machine itself: stack, memo, BUILD, NEWOBJ_EX, and what holds pickles."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import zipfile
import zlib
from collections.abc import Callable, Iterator
from struct import pack

from tests.hostile.sample import Sample
from tests.loaders.pickles.assemble import call, done, fill, many, name, new, table, text, value
from tests.loaders.pickles.test_attacks import SHAPES
from tests.support.s3 import tar_of

LOGISTIC = "sklearn.linear_model._logistic:LogisticRegression"
_POISON = (
    *("__class__", "__dict__", "__reduce_ex__", "__getattr__", "__sklearn_clone__", "__del__"),
    *("__sklearn_tags__", "__array__", "__sklearn_is_fitted__", "__len__"),
    *("fit", "get_params", "predict_proba", "_validate_params", "score"),
)


def touching(canary: str) -> bytes:
    return call(name("os:system"), text(f"touch {canary}/ran"))


def put(index: int) -> bytes:
    return b"r" + pack("<I", index)


def get(index: int) -> bytes:
    return b"j" + pack("<I", index)


def _poisoned(key: str, canary: str) -> bytes:
    del canary
    return done(fill(new(name(LOGISTIC)), table(**{key: name("numpy:exp")})))


_TRICKS: dict[str, tuple[Callable[[str], bytes], str]] = {
    "get before put": (lambda c: done(get(7)), "can't be unpickled"),
    "get of 2**32 - 1": (lambda c: done(get(0xFFFFFFFF)), "can't be unpickled"),
    "put of 2**32 - 1": (lambda c: done(b"]" + put(0xFFFFFFFF)), "list"),
    "put of a negative": (lambda c: done(b"]p-5\n"), "negative"),
    "put of a word": (lambda c: done(b"]pfive\n"), "can't be unpickled"),
    "a memo that is rewritten": (
        lambda c: done(
            name(LOGISTIC) + put(0) + b"0" + name("numpy:exp") + put(0) + b"0" + new(get(0))
        ),
        "'numpy:exp', which isn't on the list of classes",
    ),
    "a call from a rewritten memo": (
        lambda c: done(
            name("numpy:dtype") + put(0) + b"0" + name("numpy:mean") + put(0) + many() + b"R"
        ),
        "isn't on the list of calls",
    ),
    "arguments that change after the check": (
        lambda c: done(
            b"]" + put(0) + b"0" + call(name("collections:OrderedDict"), get(0)) + touching(c)
        ),
        "os:system",
    ),
    "an empty stack": (lambda c: done(b""), "can't be unpickled"),
    "popped too far": (lambda c: done(b"000000"), "can't be unpickled"),
    "a mark that is missing": (lambda c: done(b"t"), "can't be unpickled"),
    "a mark as the model": (lambda c: done(b"("), "can't be unpickled"),
    "no STOP": (lambda c: b"\x80\x04]", "corrupt"),
    "an unknown opcode": (lambda c: done(b"\xff"), "can't be unpickled"),
    "protocol 6": (lambda c: b"\x80\x06N.", ""),
    "protocol 255": (lambda c: b"\x80\xffN.", ""),
    "PROTO in the middle": (lambda c: done(b"\x80\x02" + touching(c)), "os:system"),
    "PROTO that lowers itself": (
        lambda c: done(b"\x80\x00" + call(name("__builtin__:eval"), text("1"))),
        "builtins:eval",
    ),
    "a frame in a frame": (
        lambda c: done(b"\x95" + pack("<Q", 12) + b"\x95" + pack("<Q", 20) + b"N" * 3),
        "can't be unpickled",
    ),
    "a frame cut short": (lambda c: done(b"\x95" + pack("<Q", 2) + b"X\x10\0\0\0"), ""),
    "a second pickle after the first": (lambda c: done(b"]") + done(touching(c)), "list"),
    "a call within a state": (
        lambda c: done(fill(new(name(LOGISTIC)), table(coef_=touching(c)))),
        "os:system",
    ),
    "a call within a key": (lambda c: done(b"}" + touching(c) + b"Ns"), "os:system"),
    "NEWOBJ_EX with keywords": (
        lambda c: done(name(LOGISTIC) + b")" + table(C=touching(c)) + b"\x92"),
        "os:system",
    ),
    "NEWOBJ_EX of a stand-in": (
        lambda c: done(name("numpy:dtype") + b")" + table(x=b"N") + b"\x92"),
        "isn't on the list of classes",
    ),
    "NEWOBJ_EX with a list": (lambda c: done(name(LOGISTIC) + b"]}\x92"), "corrupt"),
    "NEWOBJ of object": (lambda c: done(new(name("builtins:object"))), "list of classes"),
    "NEWOBJ of a text": (lambda c: done(new(name("builtins:str"), text("x"))), "list of classes"),
    "BUILD on a module": (
        lambda c: done(fill(name("numpy:random"), table(rand=name("numpy:exp")))),
        "'numpy:random'",
    ),
    "BUILD on a class by setstate": (
        lambda c: done(fill(name(LOGISTIC), table(__setstate__=name("numpy:exp")))),
        "isn't on the list of classes",
    ),
    "BUILD on nothing": (lambda c: done(b"}b"), ""),
    "a name with a newline": (
        lambda c: done(text("os\nsystem") + text("x\x00y") + b"\x93"),
        "asks",
    ),
    "a name of 10 MB": (lambda c: done(text("a" * 10_000_000) + text("b") + b"\x93"), "asks for"),
    "a name of half a surrogate": (
        lambda c: done(b"X\x03\0\0\0\xed\xa0\x80" + text("b") + b"\x93"),
        "asks for",
    ),
    "a relative module": (lambda c: done(text(".os") + text("system") + b"\x93"), "asks for"),
    "an empty module": (lambda c: done(text("") + text("system") + b"\x93"), "asks for"),
    "a dunder module": (lambda c: done(text("__main__") + text("__file__") + b"\x93"), "asks for"),
    "an attribute of an allowed module": (
        lambda c: done(text("sklearn.pipeline") + text("clone") + b"\x93"),
        "sklearn.pipeline:clone",
    ),
    "a table of pairs in a set": (
        lambda c: done(
            call(name("collections:OrderedDict"), call(name("builtins:set"), value([(1, 2)])))
        ),
        "no library writes",
    ),
    "a factory that runs": (
        lambda c: done(call(name("collections:defaultdict"), name("os:getcwd"))),
        "os:getcwd",
    ),
    "Python 2's long as a name": (lambda c: b"\x80\x02c__builtin__\nfile\n.", "asks for"),
    "a codec that unpacks": (
        lambda c: done(call(name("_codecs:encode"), text("x"), text("zlib_codec"))),
        "no library writes",
    ),
    "a state of a subclass of dict": (
        lambda c: done(
            fill(
                new(name(LOGISTIC)),
                call(name("collections:OrderedDict"), value([["predict", 1]])),
            )
        ),
        "sets 'predict'",
    ),
}


def _npy_of_pickle(canary: str) -> bytes:
    head = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    head += b" " * (117 - len(head)) + b"\n"
    return b"\x93NUMPY\x01\x00" + pack("<H", len(head)) + head + done(touching(canary))


def _zip_of_pickle(canary: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", done(touching(canary)))
        archive.writestr("archive/version", "3")
    return out.getvalue()


_WRAPPERS: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "joblib": (".joblib", lambda body: body, "os:system"),
    "pickle": (".pickle", lambda body: body, "os:system"),
    "zlib": (".joblib", zlib.compress, "os:system"),
    "gzip": (".joblib.gz", gzip.compress, "os:system"),
    "bz2": (".joblib.bz2", bz2.compress, "os:system"),
    "xz": (".joblib", lzma.compress, "os:system"),
    "lzma": (".joblib", lambda body: lzma.compress(body, lzma.FORMAT_ALONE), "os:system"),
    "gzip in gzip": (".joblib", lambda body: gzip.compress(gzip.compress(body)), ""),
    "lz4": (".joblib", lambda body: b"\x04\x22\x4d\x18" + body, "lz4"),
    "tar.gz": (".tar.gz", lambda body: tar_of({"model.joblib": body}), "os:system"),
    "tar": (".tar", lambda body: tar_of({"m/a/b.pkl": body}, compression=""), "os:system"),
    "tar without a suffix": (".tgz", lambda body: tar_of({"m/model": body}), "os:system"),
    "a joblib in a tar beside a README": (
        ".tar.gz",
        lambda body: tar_of({"README.md": b"trust me", "model.pkl": zlib.compress(body)}),
        "os:system",
    ),
    "named by a manifest": (
        ".tar.gz",
        lambda body: tar_of(
            {
                "x.bin": body,
                "manifest.json": b'{"entry": "x.bin", "format": "sklearn"}',
            }
        ),
        "os:system",
    ),
    "as code": (".tar.gz", lambda body: tar_of({"code/inference.py": body}), "code/inference.py"),
    "named onnx": (".onnx", lambda body: body, ""),
}


def samples() -> Iterator[Sample]:
    for title, (make, says) in _TRICKS.items():
        yield Sample(f"trick {title}", make, says)
    for key in _POISON:
        yield Sample(
            f"poison {key}",
            lambda c, key=key: _poisoned(key, c),  # type: ignore[misc]
            f"sets '{key}'" if key not in {"fit", "get_params", "score"} else "sets '",
        )
    for title, shape in SHAPES.items():
        yield Sample(f"shape {title}", shape, "")
    for title, (suffix, wrap, says) in _WRAPPERS.items():
        yield Sample(
            f"wrapped {title}",
            lambda c, wrap=wrap: wrap(done(touching(c))),  # type: ignore[misc]
            says,
            suffix,
        )
    yield Sample("an array file of pickles", _npy_of_pickle, "a NumPy array", ".pkl")
    yield Sample("a zip as PyTorch writes it", _zip_of_pickle, "a zip archive", ".joblib")
    for protocol in range(6):
        yield Sample(
            f"pickler's protocol {protocol}",
            lambda c, protocol=protocol: pickle.dumps(_Evil(c), protocol),  # type: ignore[misc]
            "posix:system",
        )


class _Evil:
    def __init__(self, canary: str) -> None:
        self._canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        import os

        return os.system, (f"touch {self._canary}/ran",)
