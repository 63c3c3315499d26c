"""skops files serve what pickles would, name no more, and unpack no further."""

from __future__ import annotations

import functools
import io
import json
import operator
import os
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import skops.io
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from loaders.base import LoadError, LoadOptions
from loaders.load import load_model
from loaders.sklearn import skops_zip
from loaders.sklearn.skops import SkopsLoader
from tests.loaders.support import answer, rows
from tests.support.odd_models import Odd

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y]
LINEAR = LinearRegression().fit(X, Y)


def _load(path: Path, **options: Any) -> Any:
    return SkopsLoader().load(path, LoadOptions(**options))


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(max_iter=500),
        make_pipeline(StandardScaler(), FunctionTransformer(np.exp), SGDClassifier(random_state=0)),
        RandomForestClassifier(5, random_state=np.random.RandomState(3)),
        GradientBoostingClassifier(n_estimators=3),
        HistGradientBoostingClassifier(max_iter=3),
        KNeighborsClassifier(algorithm="kd_tree"),
        KNeighborsClassifier(algorithm="ball_tree", metric="manhattan"),
        SVC(),
        CalibratedClassifierCV(SVC(), cv=2),
        MLPClassifier((3,), max_iter=5, random_state=0),
    ],
    ids=lambda m: type(m).__name__,
)
def test_a_model_answers_as_in_process(model: Any, tmp_path: Path) -> None:
    """Trees and neighbours too, which skops itself trusts no file with."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # too few iterations
        model.fit(X, NAMES)
    skops.io.dump(model, tmp_path / "m.skops", compression=zipfile.ZIP_DEFLATED)
    served = load_model(tmp_path, LoadOptions())
    assert served.format == "skops"
    assert served.batchable
    for method in served.methods:
        with np.errstate(divide="ignore"):  # the logarithm of a probability of 0
            got = answer(served, rows(*X.tolist()), method)
            assert got == getattr(model, method)(X).tolist()


def test_sparse_matrices_and_texts_are_loaded(tmp_path: Path) -> None:
    """A zip in the zip."""
    vectorizer = TfidfVectorizer().fit(["good day", "bad day"])
    skops.io.dump(vectorizer, tmp_path / "m.skops")
    expected = vectorizer.transform(["day"]).toarray().tolist()
    assert answer(_load(tmp_path / "m.skops"), rows("day")) == expected
    skops.io.dump(scipy.sparse.csr_matrix([[0, 1]]), tmp_path / "m.skops")
    with pytest.raises(LoadError, match="csr_matrix"):  # loaded, but no model
        _load(tmp_path / "m.skops")


# Names


def test_a_name_that_isnt_known_is_refused_and_may_be_allowed(tmp_path: Path) -> None:
    """One by one, as for pickles, or all where the prefix is trusted."""
    path = tmp_path / "m.skops"
    skops.io.dump(Odd(), path)
    name = "tests.support.odd_models:Odd"
    with pytest.raises(LoadError, match=f"asks for {name}, .*MMS_ALLOW_GLOBALS={name}, or MMS_TR"):
        _load(path)
    assert answer(_load(path, allow_globals=frozenset({name})), rows([0, 0])) is not None
    assert answer(_load(path, trusted=True), rows([0, 0])) is not None


@pytest.mark.parametrize(
    ("thing", "says"),
    [
        (functools.partial(os.system, "true"), "functools:partial, posix:system"),
        (FunctionTransformer(os.system), "posix:system"),
        (operator.methodcaller("system", "true"), "operator:methodcaller"),
        (operator.attrgetter("a.b"), "operator:attrgetter"),
        (LINEAR.predict, "sklearn.linear_model._base:LinearRegression"),
        ([len, eval], "builtins:eval"),
    ],
)
def test_what_could_run_something_is_refused(thing: Any, says: str, tmp_path: Path) -> None:
    """Functions, calls of methods and attributes."""
    skops.io.dump(thing, tmp_path / "m.skops")
    with pytest.raises(LoadError, match=says):
        _load(tmp_path / "m.skops")


def test_what_would_write_or_read_files_is_refused(tmp_path: Path) -> None:
    """The checks of unpickled models hold here too."""
    skops.io.dump(TfidfVectorizer(input="filename").fit([__file__]), tmp_path / "m.skops")
    with pytest.raises(LoadError, match="would read files"):
        _load(tmp_path / "m.skops")
    unfitted = LinearRegression()
    skops.io.dump(unfitted, tmp_path / "m.skops")
    with pytest.raises(LoadError, match="isn't fitted"):
        _load(tmp_path / "m.skops")


# Crafted files


Change = Callable[[dict[str, Any], dict[str, bytes]], object]


def _crafted(model: Any, path: Path, change: Change) -> None:
    """A file of skops' making, changed: its schema, and its other members by name."""
    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(model))) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(members.pop("schema.json"))
    change(schema, members)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", json.dumps(schema))
        for name, data in members.items():
            archive.writestr(name, data)


def _nodes(schema: Any, loader: str) -> list[dict[str, Any]]:
    found = []
    if isinstance(schema, dict):
        found += [schema] if schema.get("__loader__") == loader else []
        schema = list(schema.values())
    if isinstance(schema, list):
        found += [node for part in schema for node in _nodes(part, loader)]
    return found


def _npy(array: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def _circle(schema: dict[str, Any], members: dict[str, bytes]) -> None:
    """Every tree's root becomes its own child."""
    for name, data in members.items():
        array = np.load(io.BytesIO(data))
        if array.dtype.names and "left_child" in array.dtype.names:
            array["left_child"][0] = 0
            members[name] = _npy(array)


def _with_shape(schema: dict[str, Any], members: dict[str, bytes]) -> None:
    name = next(iter(members))
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (999999999999,)}".ljust(117)
    members[name] = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + header.encode() + b"\n"


def _objects(schema: dict[str, Any], members: dict[str, bytes]) -> None:
    members[next(iter(members))] = _npy(np.array([{}], dtype=object))


def _without_points(schema: dict[str, Any], members: dict[str, bytes]) -> None:
    for node in _nodes(schema, "ObjectNode"):
        if node["__class__"] == "KDTree":
            del node["content"]


def _predict_replaced(schema: dict[str, Any], members: dict[str, bytes]) -> None:
    attributes, kinds = schema["content"]["content"], schema["content"]["key_types"]["content"]
    kinds.append(kinds[0])
    attributes["predict"] = {
        "__class__": "exp",
        "__module__": "numpy",
        "__loader__": "FunctionNode",
    }


def _renamed(module: str, name: str) -> Change:
    return lambda schema, _: schema.update(__module__=module, __class__=name)


def _as(loader: str) -> Change:
    return lambda schema, _: schema.update(__loader__=loader)


def _with(made: Callable[[], dict[str, Any]]) -> Change:
    """One more attribute of the model."""

    def change(schema: dict[str, Any], _: dict[str, bytes]) -> None:
        attributes, kinds = schema["content"]["content"], schema["content"]["key_types"]["content"]
        kinds.append(kinds[0])
        attributes["more"] = made()

    return change


def _node(loader: str, full: str, **more: Any) -> dict[str, Any]:
    module, _, name = full.rpartition(".")
    return {"__loader__": loader, "__module__": module, "__class__": name, **more}


def _json(value: Any) -> dict[str, Any]:
    return _node("JsonNode", "builtins.str", content=json.dumps(value), is_json=True)


def _type(full: str) -> dict[str, Any]:
    return _node("TypeNode", full)


def _list(*items: dict[str, Any], loader: str = "ListNode", full: str = "") -> dict[str, Any]:
    return _node(loader, full or "builtins.list", content=list(items))


def _tuple(*items: dict[str, Any]) -> dict[str, Any]:
    return _list(*items, loader="TupleNode", full="builtins.tuple")


def _doubled(make: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """Sixty levels, each holding the one below twice."""
    inner = {**make(_json(1)), "__id__": 1000}
    for level in range(1001, 1060):
        again = _node("CachedNode", "builtins.x", __id__=level - 1)
        inner = {**make(inner, again), "__id__": level}
    return inner


def _object_array(item: dict[str, Any]) -> dict[str, Any]:
    shape = _tuple(_json(1), _json(1))
    return _node("NdArrayNode", "numpy.ndarray", type="json", content=[item], shape=shape)


def _dict(kind: str, *keys: str) -> dict[str, Any]:
    kinds = _list(*(_type(kind) for _ in keys))
    values = {key: _json(1) for key in keys}
    return _node("DictNode", "builtins.dict", key_types=kinds, content=values)


def _reduced(full: str, *args: dict[str, Any]) -> dict[str, Any]:
    return _node("LossNode", full, __reduce__={"args": _tuple(*args)}, content=_tuple(_json(1)))


FOREST = RandomForestClassifier(2, random_state=0).fit(X, Y)
NEIGHBOURS = KNeighborsClassifier(algorithm="kd_tree").fit(X, Y)
CRAFTED: dict[str, tuple[Any, Change, str]] = {
    "circle": (FOREST, _circle, "a tree in a way that no library writes"),
    "huge array": (LINEAR, _with_shape, "isn't as large as it says"),
    "pickled array": (LINEAR, _objects, "isn't as large as it says"),
    "no array": (LINEAR, lambda _, m: m.update(dict.fromkeys(m, b"text")), "isn't one"),
    "attribute": (LINEAR, _predict_replaced, "'predict'"),
    "system": (LINEAR, _renamed("os", "system"), "asks for os:system"),
    "dotted": (LINEAR, _renamed("sklearn", "linear_model._base.LinearRegression"), "asks for skl"),
    "constructor": (LINEAR, _as("ConstructorFromReduceNode"), "asks for sklearn.linear_model"),
    "quantile": (LINEAR, _as("QuantileForestNode"), "can't be loaded|asks for"),
    "no such node": (LINEAR, _as("EvilNode"), "can't be loaded"),
    "newer": (LINEAR, lambda s, _: s.update(protocol=999), "can't be loaded"),
    "neighbours": (
        NEIGHBOURS,
        lambda s, _: (
            [n.pop("content") for n in _nodes(s, "ObjectNode") if n["__class__"] == "KDTree"]
            and None
        ),
        "in a way that no library writes",
    ),
    "a constructor of another kind": (
        LINEAR,
        _with(lambda: _reduced("sklearn.metrics._dist_metrics.EuclideanDistance64")),
        "asks for sklearn.metrics._dist_metrics:EuclideanDistance64",
    ),
    "a list of another kind": (
        LINEAR,
        _with(lambda: _list(full="scipy.sparse._csr.csr_matrix")),
        "asks for scipy.sparse._csr:csr_matrix",
    ),
    "a class to call": (LINEAR, _with(lambda: _type("numpy.ndarray")), "the class ndarray"),
    "attributes of pairs": (
        LINEAR,
        lambda s, _: s.update(content=_list(_tuple(_json("predict"), _json(1)))),
        "a LinearRegression in a way that no library writes",
    ),
    "a key of another kind": (
        LINEAR,
        _with(lambda: _dict("sklearn.pipeline.Pipeline", "a")),
        "a dict in a way that no library writes",
    ),
    "keys of one hash": (
        LINEAR,
        _with(lambda: _dict("builtins.int", *(str(n * (2**61 - 1)) for n in range(1000)))),
        "many keys of one hash",
    ),
    "lists without end": (LINEAR, _with(lambda: _doubled(_list)), "again and again"),
    "an array without end": (
        LINEAR,
        _with(lambda: _object_array(_doubled(_list))),
        "again and again",
    ),
    "a set without end": (
        LINEAR,
        _with(lambda: _list(_doubled(_tuple), loader="SetNode", full="builtins.set")),
        "again and again",
    ),
    "no schema": (LINEAR, lambda s, _: s.clear(), "can't be loaded"),
}


@pytest.mark.parametrize("kind", CRAFTED)
def test_a_crafted_file_is_refused(kind: str, tmp_path: Path) -> None:
    """Before anything is made that native code would follow out of its arrays."""
    model, change, says = CRAFTED[kind]
    _crafted(model, tmp_path / "m.skops", change)
    with pytest.raises(LoadError, match=says):
        load_model(tmp_path, LoadOptions())


def _zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_bombs_are_refused_before_they_unpack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By ratio, by members, and by naming one member again and again."""
    monkeypatch.setattr(skops_zip, "FREE_BYTES", 1 << 20)
    monkeypatch.setattr(skops_zip, "MAX_MEMBERS", 50)
    path = tmp_path / "m.skops"
    for members, says in (
        ({"schema.json": b"{}", "a": bytes(20 << 20)}, "unpacks to far more than its size"),
        ({"schema.json": b"{}", **{str(i): b"" for i in range(60)}}, "more than 50 members"),
        (
            {"schema.json": json.dumps([{"file": "a"}] * 30).encode(), "a": bytes(1 << 18)},
            "far more",
        ),
        ({"other.json": b"{}"}, r"no skops file: it holds no schema\.json"),
        ({"schema.json": b"{"}, r"schema\.json isn't valid JSON"),
        ({"schema.json": b"[" * 100_000}, r"schema\.json isn't valid JSON"),
    ):
        with pytest.raises(LoadError, match=says):
            load_model(_zip(path, members).parent, LoadOptions())


def test_a_bomb_in_a_sparse_matrix_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The zip in the zip is bounded by itself, and all of them together."""
    monkeypatch.setattr(skops_zip, "FREE_BYTES", 1 << 20)
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.npy", _npy(np.zeros(1 << 20)))
    model = LinearRegression().fit(X, Y)
    model.extra_ = scipy.sparse.csr_matrix([[0.0, 1.0]])

    def change(schema: dict[str, Any], members: dict[str, bytes]) -> None:
        (node,) = _nodes(schema, "SparseMatrixNode")
        members[node["file"]] = inner.getvalue()

    _crafted(model, tmp_path / "m.skops", change)
    with pytest.raises(LoadError, match="unpacks to far more"):
        load_model(tmp_path, LoadOptions())


def test_a_broken_zip_is_corrupt(tmp_path: Path) -> None:
    """Cut short, or with members that aren't what their checksums say."""
    whole = skops.io.dumps(LINEAR)
    for data in (whole[: len(whole) // 2], whole[:40] + b"x" + whole[41:]):
        (tmp_path / "m.skops").write_bytes(data)
        with pytest.raises(LoadError, match="corrupt"):
            load_model(tmp_path, LoadOptions())


def test_a_member_that_cant_be_unpacked_is_corrupt(tmp_path: Path) -> None:
    """By whichever way of packing."""
    path = tmp_path / "m.skops"
    for way in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        skops.io.dump(LINEAR, path, compression=way)
        with zipfile.ZipFile(path) as archive:
            start = archive.getinfo("schema.json").header_offset + 60
        data = path.read_bytes()
        path.write_bytes(data[:start] + b"\xff" * 60 + data[start + 60 :])
        with pytest.raises(LoadError, match="corrupt"):
            load_model(tmp_path, LoadOptions())
