"""Broken, hostile and too new ONNX files are one clear line, in bounded time and memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto

from loaders.base import InputError, LoadError, LoadOptions, Payload
from loaders.onnx import loader
from loaders.onnx.faults import first_line, why
from loaders.onnx.loader import OnnxLoader, OnnxModel
from loaders.onnx.session import open_session
from tests.loaders.support import rows
from tests.support.onnx_models import (
    I64,
    F,
    constant,
    expander,
    external,
    identity,
    model,
    nested,
    node,
    sparse,
)

ROWS = ["N", 4]


def _load(path: Path, content: bytes) -> OnnxModel:
    (path / "m.onnx").write_bytes(content)
    return OnnxLoader().load(path / "m.onnx", LoadOptions())


def _refusal(path: Path, content: bytes) -> str:
    """Why the file isn't loaded: one line, without a path."""
    with pytest.raises(LoadError) as caught:
        _load(path, content)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) not in text
    assert "onnxruntime_src" not in text
    return text


CORRUPT = "the ONNX file is corrupt or cut short"
EXTERNAL = "the model's external data is missing, too short, or outside of the artifact"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x08\x09",
        b"\x08\x09:\x05hello",
        b"\x08\x09" + bytes(100),
        b"\x08\x09\x3a\xff\xff\xff\xff\x0f",  # a graph of gigabytes, announced
        nested(10_000),
    ],
)
def test_a_broken_file_is_one_line(content: bytes, tmp_path: Path) -> None:
    """Corrupt, cut, lying and bottomless files are load errors without paths."""
    assert _refusal(tmp_path, content) == CORRUPT


def test_half_a_model_never_loads(tmp_path: Path) -> None:
    """Wherever a download was cut."""
    content = model(
        [node("Add", "x w", "y")], [("x", F, ROWS)], [("y", F, ROWS)], [constant("w", [1.0] * 4)]
    )
    for end in range(0, len(content) - 1, 7):
        _refusal(tmp_path, content[:end])


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            model(
                [node("Frob", "x", "y", domain="my.own")],
                [("x", F, ["N"])],
                [("y", F, ["N"])],
                domains={"my.own": 1},
            ),
            (
                "the model uses operator Frob of domain my.own, which isn't part of ONNX: custom "
                "operators aren't supported here"
            ),
        ),
        (
            model([node("Frob", "x", "y", domain="a")], [("x", F, ["N"])], [("y", F, ["N"])]),
            "the model uses operator Frob of domain a, but doesn't say of which opset",
        ),
        (
            model([node("Frob", "x", "y")], [("x", F, ["N"])], [("y", F, ["N"])]),
            "there is no operator Frob in opset 17, by which the model says it was made",
        ),
        (
            model([node("Det", "x", "y")], [("x", I64, [2, 2])], [("y", I64, [])]),
            (
                "ONNX Runtime can't load the model: This is an invalid model. Type Error: Type "
                "'tensor(int64)' of input parameter (x) of operator (Det) in node () is invalid."
            ),
        ),
    ],
)
def test_an_operator_nobody_has_is_named(content: bytes, problem: str, tmp_path: Path) -> None:
    """Custom operators aren't loaded, and the error says which."""
    assert _refusal(tmp_path, content) == problem


def test_what_is_too_new_is_said_with_what_isnt(tmp_path: Path) -> None:
    """Opsets of ONNX and of its other domains, and the version of the file."""
    nodes, ends = [node("Identity", "x", "y")], ([("x", F, ["N"])], [("y", F, ["N"])])
    text = _refusal(tmp_path, model(nodes, *ends, opset=99))
    assert "is of opset 99 of domain ai.onnx, but ONNX Runtime here goes up to opset 2" in text
    normalise = [node("Normalizer", "x", "y", domain="ai.onnx.ml", norm="L2")]
    text = _refusal(tmp_path, model(normalise, *ends, domains={"ai.onnx.ml": 99}))
    assert "is of opset 99 of domain ai.onnx.ml, but ONNX Runtime here goes up to opset " in text
    text = _refusal(tmp_path, model(nodes, *ends, ir=99))
    assert "is of IR version 99, but ONNX Runtime here goes up to version 1" in text


def _tensor(*dims: int, **values: Any) -> Any:
    return TensorProto(name="w", data_type=F, dims=dims, **values)


LIES = {
    "announced 2**60": _tensor(2**60),
    "announced 2**80": _tensor(2**40, 2**40),
    "announced 16 GB": _tensor(4 * 10**9, raw_data=b"abcd"),
    "announced 1 GB": _tensor(1 << 28, raw_data=b"abcd"),
    "negative": _tensor(-5, raw_data=b"abcd"),
    "too few": _tensor(4, raw_data=b"abcd"),
    "texts 2**26": TensorProto(name="w", data_type=TensorProto.STRING, dims=[2**26]),
    "texts 2**40": TensorProto(name="w", data_type=TensorProto.STRING, dims=[2**40]),
}

# Loads what it is given, says why it can't, and dies if it took half a gigabyte for it.
_WITHIN = """
import resource, sys
from pathlib import Path
import onnxruntime
from loaders.base import LoadError, LoadOptions
from loaders.onnx.loader import OnnxLoader
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    OnnxLoader().load(Path(sys.argv[1]), LoadOptions())
except LoadError as error:
    print("refused:", error)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
assert grown < 500_000, grown
"""


def _bounded(path: Path, content: bytes) -> str:
    (path / "m.onnx").write_bytes(content)
    command = [sys.executable, "-c", _WITHIN, str(path / "m.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("lie", LIES)
def test_weights_that_arent_there_are_refused_in_little_memory(lie: str, tmp_path: Path) -> None:
    """A tiny file that announces gigabytes takes none."""
    kind = LIES[lie].data_type
    content = model(
        [node("Concat", "x w", "y", axis=0)], [("x", kind, ["N"])], [("y", kind, None)], [LIES[lie]]
    )
    why = _bounded(tmp_path, content)
    assert why.startswith("refused: ")
    assert EXTERNAL not in why


def test_weights_that_are_mostly_nought_arent_spread_out_without_bounds(tmp_path: Path) -> None:
    """Sparse ones are served as long as they are of a sane size."""
    loaded = _load(tmp_path, sparse(3))
    assert loaded.run("predict", loaded.prepare(rows(5))).arrays["y"].tolist() == [5, 1, 0, 0]
    why = _bounded(tmp_path, sparse((1 << 29) - 1))
    assert why == "refused: the model takes over 50 times its size to load, so it is refused\n"


def test_a_tiny_file_doesnt_unfold_to_gigabytes(tmp_path: Path) -> None:
    """What only the run needs isn't computed, and kept, at load."""
    many = range(4)
    content = model(
        [
            part
            for i in many
            for part in (node("ConstantOfShape", "n", f"big{i}"), node("Add", f"x big{i}", f"y{i}"))
        ],
        [("x", F, [1])],
        [(f"y{i}", F, None) for i in many],
        [constant("n", [1 << 26])],
    )
    assert _bounded(tmp_path, content) == ""


def test_dimensions_that_are_none_are_free(tmp_path: Path) -> None:
    """A negative size means any; one that nobody can send is just never met."""
    loaded = _load(tmp_path, identity(F, [-3, 2]))
    assert loaded.signature.inputs[0].shape == (None, 2)
    loaded = _load(tmp_path, identity(F, ["N", 2**62]))
    with pytest.raises(InputError, match="the model has 4611686018427387904 columns"):
        loaded.prepare(rows([1, 2]))


# --- External data ---


def _place(location: str, offset: int | str = 0, length: int | str = 16) -> dict[str, str]:
    return {"location": location, "offset": str(offset), "length": str(length)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An artifact with weights, beside what it may not read."""
    inside = tmp_path / "artifact"
    (inside / "sub").mkdir(parents=True)
    for path in (inside / "w.bin", inside / "sub" / "w.bin", tmp_path / "secret.bin"):
        np.arange(4, dtype=np.float32).tofile(path)
    (inside / "link.bin").symlink_to(tmp_path / "secret.bin")
    (inside / "loop.bin").symlink_to("loop.bin")
    return inside


@pytest.mark.parametrize("location", ["w.bin", "sub/w.bin", "./w.bin"])
def test_weights_beside_the_model_are_read(location: str, folder: Path) -> None:
    loaded = _load(folder, external(_place(location)))
    outputs = loaded.run("predict", loaded.prepare(rows([0, 0, 0, 0])))
    assert outputs.arrays["y"].tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize(
    "location",
    [
        "../secret.bin",
        "./../secret.bin",
        "sub/../../secret.bin",
        "{outside}/secret.bin",
        "link.bin",
        "loop.bin",
        "missing.bin",
        "sub",
        "/proc/self/environ",
        "/dev/zero",
        "..",
    ],
)
def test_external_data_stays_in_the_folder(location: str, folder: Path) -> None:
    """Any way out of it is refused, and so is what is no file."""
    place = _place(location.format(outside=folder.parent))
    assert _refusal(folder, external(place)) == EXTERNAL


@pytest.mark.parametrize(
    "place",
    [
        _place("w.bin", offset=2**62),
        _place("w.bin", offset=-8),
        _place("w.bin", offset=4),
        _place("w.bin", length=2**62),
        _place("w.bin", length=4),
    ],
)
def test_external_data_beyond_its_file_is_refused(place: dict[str, str], folder: Path) -> None:
    """Offsets and lengths are checked before anything is read."""
    assert _refusal(folder, external(place)) == EXTERNAL


@pytest.mark.parametrize(
    "entries",
    [
        {},
        {"location": ""},
        _place("w.bin", offset="abc"),
        _place("w.bin", offset=2**63 - 8),
        _place("w.bin", length="1e3"),
        _place("*/_ORT_MEM_ADDR_/*", offset=4096),
    ],
)
def test_a_malformed_reference_is_refused(entries: dict[str, str], folder: Path) -> None:
    """The runtime's own name for an address in memory too."""
    assert _refusal(folder, external(entries))


def test_gigabytes_of_external_data_that_arent_there_take_no_memory(folder: Path) -> None:
    content = external({"location": "w.bin"}, dims=[1 << 33])
    assert _bounded(folder, content) == f"refused: {EXTERNAL}\n"


# --- Runs ---


def test_values_that_the_graph_refuses_are_the_clients_fault(tmp_path: Path) -> None:
    """An index out of range in a Gather is said in one line, without source paths."""
    content = model(
        [node("Gather", "table i", "y")],
        [("i", I64, ["N"])],
        [("y", F, ["N"])],
        [constant("table", [0, 1, 2], np.float32)],
    )
    loaded = _load(tmp_path, content)
    with pytest.raises(InputError, match="out of data bounds") as caught:
        loaded.run("predict", loaded.prepare(rows(99)))
    assert "onnxruntime_src" not in str(caught.value)


@pytest.mark.parametrize("count", [2**40, 2**45, 2**62])
def test_a_run_that_wants_absurd_memory_leaves_the_model_usable(count: int, tmp_path: Path) -> None:
    """Out of memory, or an error of the model's where its size isn't even a number."""
    loaded = _load(tmp_path, expander())

    def run(size: int) -> Any:
        payload = Payload(form="inputs", tensors={"x": [1.5], "n": [size]})
        return loaded.run("predict", loaded.prepare(payload)).arrays["y"].tolist()

    with pytest.raises((MemoryError, RuntimeError)) as caught:
        run(count)
    assert "onnxruntime_src" not in str(caught.value)
    assert run(3) == 1.5


def test_messages_hold_no_source_of_the_runtime() -> None:
    """Whatever it says: no paths, no signatures, no codes, and never more than a line."""
    text = (
        "[ONNXRuntimeError] : 1 : FAIL : Load model from /models/m.onnx failed:"
        "/onnxruntime_src/core/graph.cc:46 void f(const std::string&, int) [with T = float; U = "
        "int] The graph is odd.\n\nStacktrace: ..."
    )
    assert first_line(RuntimeError(text)) == "The graph is odd."
    assert why(RuntimeError(text)) == "ONNX Runtime can't load the model: The graph is odd."
    assert len(why(RuntimeError("x" * 10_000))) < 400
    assert first_line(RuntimeError("")) == ""
    assert onnxruntime.__version__


class Neighbour:
    """Takes most of the room that a load has; once, or whenever a model is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, once: bool) -> None:
        self.once, self.opened = once, 0
        self.taken: list[Any] = []
        self.real = open_session
        monkeypatch.setattr(loader, "open_session", self.open_session)

    def open_session(self, *given: Any) -> Any:
        self.opened += 1
        if self.once and self.opened > 1:
            return self.real(*given)
        self.taken.append(np.empty(800 << 20, np.uint8))
        raise MemoryError


SMALL = model([node("Neg", "x", "y")], [("x", F, ROWS)], [("y", F, ROWS)])


def test_what_others_took_is_not_held_against_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound is the whole process's: a model is tried once more, with room of its own."""
    neighbour = Neighbour(monkeypatch, once=True)
    assert _load(tmp_path, SMALL).signature.inputs[0].name == "x"
    assert neighbour.opened == 2


def test_a_second_time_it_is_for_want_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which isn't said of the artifact."""
    neighbour = Neighbour(monkeypatch, once=False)
    with pytest.raises(MemoryError):
        _load(tmp_path, SMALL)
    assert neighbour.opened == 2
