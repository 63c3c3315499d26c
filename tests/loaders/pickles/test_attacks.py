"""Hostile pickles: each is refused, and nothing of it runs."""

from __future__ import annotations

import bz2
import copyreg
import gzip
import lzma
import pickle
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from struct import pack

import numpy as np
import pytest

from loaders.base import LoadError, LoadOptions
from loaders.pickles.unpickle import load_restricted
from loaders.sklearn.joblib import JoblibLoader
from tests.loaders.pickles.assemble import (
    array,
    call,
    done,
    dtype,
    fill,
    many,
    name,
    new,
    raw,
    stack_name,
    table,
    text,
    value,
)

LOGISTIC = "sklearn.linear_model._logistic:LogisticRegression"
BUNCH = "sklearn.utils._bunch:Bunch"
TREE = "sklearn.tree._tree:Tree"
WRAPPER = "joblib.numpy_pickle:NumpyArrayWrapper"


def _command(canary: str) -> bytes:
    return text(f"touch {canary}")


def _code(canary: str) -> bytes:
    return text(f"open({canary!r}, 'w').close()")


def _touch(canary: str) -> bytes:
    """The plainest attack, as a part of others."""
    return call(name("os:system"), _command(canary))


def _wrapped(canary: str, inner: bytes) -> bytes:
    """An array of objects as joblib writes it: a wrapper, then a pickle of its own."""
    del canary
    state = table(
        subclass=name("numpy:ndarray"),
        shape=value((1,)),
        order=text("C"),
        dtype=dtype("O8"),
        allow_mmap=b"\x89",
    )
    return b"\x80\x04" + fill(new(name(WRAPPER)), state) + inner + b"."


def _tree(n_features: int, n_outputs: int, classes: bytes) -> bytes:
    return call(name(TREE), value(n_features), classes, value(n_outputs))


_ONE_CLASS = array(value((1,)), dtype("i8"), raw(pack("<q", 1)))
_FIELDS = (
    *("left_child", "right_child", "feature", "threshold", "impurity", "n_node_samples"),
    *("weighted_n_node_samples", "missing_go_to_left"),
)


def _nodes(*rows: tuple[int, int, int]) -> bytes:
    kinds = ["i8", "i8", "i8", "f8", "f8", "i8", "f8", "u1"]
    fields = {
        field: many(dtype(kind), value(8 * i))
        for i, (field, kind) in enumerate(zip(_FIELDS, kinds, strict=True))
    }
    state = many(
        value(3), text("|"), b"N", value(_FIELDS), table(**fields), *map(value, (64, 8, 144))
    )
    data = b"".join(pack("<qqqddqdB7x", *row, 0.5, 0.0, 1, 1.0, 0) for row in rows)
    return array(value((len(rows),)), dtype("V64", state=state), raw(data))


def _filled_tree(count: int, *rows: tuple[int, int, int]) -> bytes:
    values = array(value((len(rows), 1, 1)), dtype("f8"), raw(pack("<d", 0.0) * len(rows)))
    state = table(max_depth=value(3), node_count=value(count), nodes=_nodes(*rows), values=values)
    return fill(_tree(2, 1, _ONE_CLASS), state)


LEAF = (-1, -1, -2)

# Names that run code, touch files or reach further names
NAMES = {
    f"call {full}": lambda c, full=full: done(call(name(full), _code(c)))
    for full in (
        "builtins:eval",
        "builtins:exec",
        "builtins:compile",
        "builtins:open",
        "builtins:__import__",
        "builtins:getattr",
        "builtins:setattr",
        "builtins:type",
        "builtins:map",
        "posix:system",
        "os:popen",
        "subprocess:Popen",
        "subprocess:check_output",
        "pty:spawn",
        "runpy:run_path",
        "importlib:import_module",
        "types:FunctionType",
        "types:CodeType",
        "functools:partial",
        "functools:reduce",
        "operator:attrgetter",
        "operator:methodcaller",
        "operator:itemgetter",
        "copyreg:add_extension",
        "_codecs:decode",
        "codecs:open",
        "pickle:loads",
        "_pickle:loads",
        "numpy:load",
        "numpy:save",
        "numpy:memmap",
        "numpy:fromfile",
        "numpy:vectorize",
        "numpy.core.multiarray:fromfile",
        "numpy.testing._private.utils:runstring",
        "joblib:load",
        "joblib:dump",
        "joblib.memory:Memory",
        "joblib.numpy_pickle:load",
        "joblib.numpy_pickle_compat:NDArrayWrapper",
        "joblib._memmapping_reducer:reduce_array_memmap_backward",
        "scipy.io:loadmat",
        "scipy.io._fortran:FortranFile",
        "scipy.stats._distn_infrastructure:rv_continuous",
        "pandas:read_pickle",
        "pandas.io.pickle:read_pickle",
        "pandas.io.common:get_handle",
        "sklearn.datasets:load_files",
        "sklearn.utils._joblib:load",
        "sklearn.callback._scoring_monitor:ScoringMonitor",
        "webbrowser:open",
        "shutil:rmtree",
        "tempfile:NamedTemporaryFile",
    )
}

SHAPES: dict[str, Callable[[str], bytes]] = {
    "os.system": lambda c: done(_touch(c)),
    "os.system in protocol 0": lambda c: b"cos\nsystem\n(S'touch " + c.encode() + b"'\ntR.",
    "Python 2's name of it": lambda c: (
        b"\x80\x02" + call(name("__builtin__:eval"), _code(c)) + b"."
    ),
    "a dotted name": lambda c: done(call(stack_name("numpy:f2py.os.system"), _command(c))),
    "a dotted name of an allowed class": lambda c: done(
        call(stack_name(LOGISTIC + ".predict.__globals__"), _command(c))
    ),
    "a dotted name by GLOBAL": lambda c: done(call(name("sklearn:os.system"), _command(c))),
    "a name that isn't text": lambda c: done(value(1) + value(2) + b"\x93" + many() + b"R"),
    "a module of an allowed name": lambda c: done(
        call(name("sklearn.linear_model._logistic:os"), _command(c))
    ),
    "INST": lambda c: b"(" + _command(c) + b"ios\nsystem\n.",
    "INST of an allowed class": lambda c: b"(i" + LOGISTIC.replace(":", "\n").encode() + b"\n.",
    "OBJ": lambda c: done(b"(" + name(LOGISTIC) + b"o"),
    "persistent id": lambda c: done(b"Psomewhere\n"),
    "persistent id on the stack": lambda c: done(text("x") + b"Q"),
    "EXT1": lambda c: done(b"\x82\xf0" + many(_command(c)) + b"R"),
    "EXT2": lambda c: done(b"\x83\xf0\x00" + many(_command(c)) + b"R"),
    "EXT4": lambda c: done(b"\x84\xf0\x00\x00\x00" + many(_command(c)) + b"R"),
    "NEXT_BUFFER": lambda c: done(b"\x97"),
    "READONLY_BUFFER": lambda c: done(raw(b"x") + b"\x98"),
    # BUILD
    "BUILD on a class": lambda c: done(fill(name(LOGISTIC), table(predict=name("numpy:exp")))),
    "BUILD on a function": lambda c: done(fill(name("numpy:mean"), table(x=value(1)))),
    "BUILD on a stand-in": lambda c: done(fill(name("numpy:dtype"), table(x=value(1)))),
    "BUILD on a ufunc": lambda c: done(fill(name("numpy:exp"), table(x=value(1)))),
    "BUILD on a list": lambda c: done(fill(b"]", table(x=value(1)))),
    "BUILD with slots": lambda c: done(
        fill(new(name("sklearn._loss.link:LogLink")), many(b"N", table(interval_y_pred=value(1))))
    ),
    "BUILD twice": lambda c: done(
        fill(fill(new(name(LOGISTIC)), table(a=value(1))), table(b=value(1)))
    ),
    "an instance's own __setstate__": lambda c: done(
        fill(new(name(LOGISTIC)), table(__setstate__=name("numpy:exp")))
    ),
    "an instance's own __setstate__ in a Bunch": lambda c: done(
        fill(
            new(name(LOGISTIC)),
            new(name(BUNCH)) + b"(" + text("__setstate__") + name("numpy:exp") + b"u",
        )
    ),
    "an instance's own predict": lambda c: done(
        fill(new(name(LOGISTIC)), table(predict=name("numpy:exp")))
    ),
    "keys that aren't text": lambda c: done(
        fill(new(name("sklearn._loss.link:LogLink")), value({1: 2}))
    ),
    "a state that isn't a dict": lambda c: done(
        fill(new(name("sklearn._loss.link:LogLink")), value([1]))
    ),
    # Containers
    "APPEND to an object": lambda c: done(new(name(LOGISTIC)) + value(1) + b"a"),
    "APPENDS to an object": lambda c: done(new(name(LOGISTIC)) + b"(" + value(1) + b"e"),
    "SETITEM on an array": lambda c: done(_ONE_CLASS + value(0) + value(9) + b"s"),
    "SETITEMS on a class": lambda c: done(name(LOGISTIC) + b"(" + value(0) + value(9) + b"u"),
    "ADDITEMS to an object": lambda c: done(new(name(LOGISTIC)) + b"(" + value(1) + b"\x90"),
    # Calls
    "calling a class": lambda c: done(call(name(LOGISTIC), value(1))),
    "calling a ufunc": lambda c: done(call(name("numpy:exp"), value(1))),
    "calling an instance": lambda c: done(call(new(name(LOGISTIC)), value(1))),
    "calling with a list": lambda c: done(name("builtins:set") + b"]R"),
    "making an instance of an instance": lambda c: done(new(new(name(LOGISTIC)))),
    "making a stand-in": lambda c: done(new(name("numpy:dtype"), text("f8"))),
    "making an array": lambda c: done(new(name("numpy:ndarray"), value((1 << 40,)))),
    "making by NEWOBJ_EX": lambda c: done(name("numpy:ndarray") + b")}\x92"),
    "making with a list": lambda c: done(name(LOGISTIC) + b"]\x81"),
    "newObj of an instance": lambda c: done(
        call(name("sklearn.metrics._dist_metrics:newObj"), new(name(LOGISTIC)))
    ),
    "newObj of a class that isn't native": lambda c: done(
        call(name("sklearn.metrics._dist_metrics:newObj"), name(LOGISTIC))
    ),
    "a codec but latin-1": lambda c: done(call(name("_codecs:encode"), text("x"), text("rot13"))),
    "bytes of any size": lambda c: done(call(name("builtins:bytes"), value(1 << 40))),
    "_reconstructor of a native base": lambda c: done(
        call(name("copyreg:_reconstructor"), name(LOGISTIC), name("numpy:ndarray"), b"N")
    ),
    "a bit generator of any class": lambda c: done(
        call(name("numpy.random._pickle:__bit_generator_ctor"), name(LOGISTIC))
    ),
    "an index of any class": lambda c: done(
        call(name("pandas.core.indexes.base:_new_Index"), name(LOGISTIC), table(data=value(1)))
    ),
    # Arrays and dtypes
    "a dtype of a list": lambda c: done(call(name("numpy:dtype"), value([["a", "O"]]))),
    "a dtype of a comma string": lambda c: done(call(name("numpy:dtype"), text("O,O"))),
    "an object dtype that denies it": lambda c: done(
        array(
            value((1,)),
            dtype("O8", state=value((3, "|", None, None, None, -1, -1, 0))),
            raw(b"\x41" * 8),
        )
    ),
    "object fields that are denied": lambda c: done(
        dtype(
            "V8",
            state=many(
                value(3),
                text("|"),
                b"N",
                value(("a",)),
                table(a=many(dtype("O8"), value(0))),
                *map(value, (8, 1, 0)),
            ),
        )
    ),
    "fields beyond the item": lambda c: done(
        dtype(
            "V8",
            state=many(
                value(3),
                text("|"),
                b"N",
                value(("a",)),
                table(a=many(dtype("f8"), value(800))),
                *map(value, (8, 1, 16)),
            ),
        )
    ),
    "a subarray dtype": lambda c: done(
        dtype("V8", state=value((3, "|", ("O8", (1,)), None, None, 8, 1, 0)))
    ),
    "objects from bytes": lambda c: done(array(value((1,)), dtype("O8"), raw(b"\x41" * 8))),
    "too few bytes": lambda c: done(array(value((1 << 40,)), dtype("f8"), raw(b"\x41" * 8))),
    "a shape of negative numbers": lambda c: done(array(value((-1,)), dtype("f8"), raw(b""))),
    "endless empty texts": lambda c: done(array(value((1 << 60,)), dtype("U0"), raw(b""))),
    "an array filled twice": lambda c: done(
        fill(_ONE_CLASS, many(value(1), value((0,)), dtype("f8"), b"\x89", raw(b"")))
    ),
    "_reconstruct of a shape": lambda c: done(
        call(
            name("numpy._core.multiarray:_reconstruct"),
            name("numpy:ndarray"),
            value((1 << 40,)),
            raw(b"d"),
        )
    ),
    "an object scalar": lambda c: done(
        call(name("numpy._core.multiarray:scalar"), dtype("O8"), _ONE_CLASS)
    ),
    "a short scalar": lambda c: done(
        call(name("numpy._core.multiarray:scalar"), dtype("f8"), raw(b"x"))
    ),
    "a buffer of objects": lambda c: done(
        call(
            name("numpy._core.numeric:_frombuffer"),
            raw(b"\x41" * 8),
            dtype("O8"),
            value((1,)),
            text("C"),
        )
    ),
    # joblib's wrapper
    "an array of objects that attacks": lambda c: _wrapped(c, done(_touch(c))),
    "an array of objects with a persistent id": lambda c: _wrapped(c, done(b"Px\n")),
    "an array of objects that fills a class": lambda c: _wrapped(
        c, done(fill(name(LOGISTIC), table(x=value(1))))
    ),
    "an array larger than the file": lambda c: done(
        fill(
            new(name(WRAPPER)),
            table(shape=value((1 << 40,)), order=text("C"), dtype=dtype("f8")),
        )
    ),
    "an array without a dtype": lambda c: done(
        fill(new(name(WRAPPER)), table(shape=value((1,)), order=text("C"), dtype=text("f8")))
    ),
    # Trees
    "a tree of too many outputs": lambda c: done(_tree(2, 1000, _ONE_CLASS)),
    "a tree of no features": lambda c: done(_tree(0, 1, _ONE_CLASS)),
    "a tree of more nodes than it has": lambda c: done(_filled_tree(1000, LEAF)),
    "a child outside of the tree": lambda c: done(_filled_tree(1, (1, 2, 0))),
    "a tree that circles": lambda c: done(_filled_tree(3, (1, 2, 0), (0, 2, 0), LEAF)),
    "a feature the tree doesn't have": lambda c: done(_filled_tree(3, (1, 2, 7), LEAF, LEAF)),
    # Sizes
    "a huge bytearray": lambda c: done(b"\x96" + pack("<Q", 1 << 40)),
    "a huge bytes": lambda c: done(b"\x8e" + pack("<Q", 1 << 40)),
    "a huge string": lambda c: done(b"\x8d" + pack("<Q", 1 << 40)),
    "a huge frame": lambda c: done(b"\x95" + pack("<Q", 1 << 40)),
    # Compressed
    "gzip": lambda c: gzip.compress(done(_touch(c))),
    "zlib": lambda c: zlib.compress(done(_touch(c))),
    "bz2": lambda c: bz2.compress(done(_touch(c))),
    "xz": lambda c: lzma.compress(done(_touch(c))),
    "a bomb": lambda c: zlib.compress(b"\x80\x04" + b"\x8e" + pack("<Q", 1 << 27) + bytes(1 << 27)),
}


ATTACKS = NAMES | SHAPES


@pytest.fixture(autouse=True)
def _extension_code() -> Iterator[None]:
    """The code that the EXT attacks use really means ``os.system`` here."""
    copyreg.add_extension("os", "system", 0xF0)
    yield
    copyreg.remove_extension("os", "system", 0xF0)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_an_attack_is_refused_and_runs_nothing(
    attack: Callable[[str], bytes], tmp_path: Path
) -> None:
    """No pickle does anything but make models."""
    canary = tmp_path / "canary"
    file = tmp_path / "model.pkl"
    file.write_bytes(attack(str(canary)))
    with pytest.raises(LoadError) as caught:
        load_restricted(file)
    assert str(tmp_path) not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.pkl"]


def test_a_state_that_only_acts_like_one_is_refused(tmp_path: Path) -> None:
    """An estimator whose items are pairs would bring attributes past the check of their names."""
    pairs = fill(
        new(name("sklearn.ensemble._bagging:BaggingClassifier")),
        table(
            estimators_=value([["predict", 1]]),
            pop=name("sklearn.ensemble._hist_gradient_boosting.binning:_BinMapper"),
        ),
    )
    file = tmp_path / "model.pkl"
    file.write_bytes(done(fill(new(name(LOGISTIC)), pairs)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in serving: of the version that it doesn't have
        with pytest.raises(LoadError, match="something else than attributes"):
            load_restricted(file)


def test_the_canary_would_sing(tmp_path: Path) -> None:
    """The attacks are real: the full unpickler runs them."""
    canary = tmp_path / "canary"
    file = tmp_path / "model.pkl"
    file.write_bytes(SHAPES["EXT1"](str(canary)))
    with pytest.raises(LoadError):
        JoblibLoader().load(file, LoadOptions(trusted=True))
    assert canary.exists()


def test_a_refused_name_is_named_with_the_ways_out(tmp_path: Path) -> None:
    """Whoever trusts a name is told how to allow exactly it."""
    file = tmp_path / "model.pkl"
    file.write_bytes(done(name("mypkg.models:Scaler")))
    with pytest.raises(
        LoadError, match=r"MMS_ALLOW_GLOBALS=mypkg\.models:Scaler, or MMS_TRUST=all"
    ):
        load_restricted(file)


def test_an_honest_tree_is_let_through(tmp_path: Path) -> None:
    """The attacks on trees fail for what is wrong with them, not for how they are assembled."""
    file = tmp_path / "model.pkl"
    file.write_bytes(done(_filled_tree(3, (1, 2, 1), LEAF, LEAF)))
    tree, _ = load_restricted(file)
    assert (tree.node_count, tree.n_features) == (3, 2)


@pytest.mark.parametrize("spec", [">f8", "<U3", "M8[ms]", "m8[D]", "i4,f8", "S5", "?", ">c16"])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_an_honest_dtype_keeps_its_fields(spec: str, protocol: int, tmp_path: Path) -> None:
    """Fields, units, byte order and values arrive as the full unpickler brings them."""
    file = tmp_path / "model.pkl"
    honest = pickle.dumps(np.ones((2, 3), spec), protocol)
    file.write_bytes(honest)
    expected = pickle.loads(honest)
    array, _ = load_restricted(file)
    assert array.dtype == expected.dtype
    assert array.tobytes() == expected.tobytes()
