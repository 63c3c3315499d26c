"""``manifest.json`` is read strictly, and never believed where it leads outside."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loaders.base import LoadError, TensorSpec
from loaders.manifest import MAX_BYTES, Manifest, parse_manifest, read_manifest

WRONG: list[tuple[str, Any]] = [
    ("format", 1),
    ("format", ""),
    ("format", "a\nb"),
    ("entry", "../model.onnx"),
    ("entry", "/etc/passwd"),
    ("entry", "a/../../b"),
    ("entry", "a\\..\\b"),
    ("entry", ""),
    ("entry", ["model.onnx"]),
    ("method", {}),
    ("batchable", "yes"),
    ("batchable", 1),
    ("versions", ["1"]),
    ("versions", {"numpy": 2}),
    ("files", {"m.onnx": "abc"}),
    ("files", {"../m.onnx": "a" * 64}),
    ("files", {"m.onnx": "g" * 64}),
    ("options", "x"),
    ("signature", []),
    ("signature", {"inputs": {}}),
    ("signature", {"inputs": [1]}),
    ("signature", {"inputs": [{"name": 1}]}),
    ("signature", {"outputs": [{"shape": [-1]}]}),
    ("signature", {"outputs": [{"shape": [True]}]}),
    ("signature", {"outputs": [{"shape": "x"}]}),
]


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_a_wrong_key_is_named(key: str, value: Any) -> None:
    """Whoever wrote the manifest learns which key is wrong."""
    with pytest.raises(LoadError, match=f"manifest.json: '{key}"):
        parse_manifest(json.dumps({key: value}).encode())


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"3", b'"x"', b"\xff", b"[" * 100_000])
def test_a_manifest_that_isnt_an_object_is_refused(data: bytes) -> None:
    """Broken JSON and other documents are told from manifests."""
    with pytest.raises(LoadError, match=r"manifest\.json"):
        parse_manifest(data)


def test_what_is_right_is_read() -> None:
    """Every key arrives; unknown keys and nulls don't matter."""
    manifest = parse_manifest(
        json.dumps(
            {
                "format": "onnx",
                "entry": "a/b.onnx",
                "method": "transform",
                "batchable": False,
                "versions": {"python": "3.11"},
                "files": {"a/b.onnx": "A" * 64},
                "options": {"threads": 1},
                "signature": {"inputs": [{"name": "x", "dtype": "float32", "shape": [None, 3]}]},
                "samples": [1, 2],
                "surprise": {"deep": []},
            }
        ).encode()
    )
    assert str(manifest.entry) == "a/b.onnx"
    assert (manifest.format, manifest.method, manifest.batchable) == ("onnx", "transform", False)
    assert manifest.options == {"threads": 1}
    assert manifest.signature is not None
    assert manifest.signature.inputs == (TensorSpec(name="x", dtype="float32", shape=(None, 3)),)
    assert parse_manifest(b'{"format": null}') == Manifest()


def test_a_folder_may_have_none_but_not_a_huge_one(tmp_path: Path) -> None:
    """The manifest is optional and bounded."""
    assert read_manifest(tmp_path) == Manifest()
    (tmp_path / "manifest.json").write_bytes(b" " * (MAX_BYTES + 1))
    with pytest.raises(LoadError, match="larger than"):
        read_manifest(tmp_path)


_TEXT = st.text("a./\\\0é", max_size=5)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)
_KEYS = st.sampled_from(sorted({key for key, _ in WRONG}))


@given(st.dictionaries(_KEYS, _JSON, max_size=4))
def test_no_manifest_raises_anything_else(document: dict[str, Any]) -> None:
    """Whatever stands in it: a manifest, or a LoadError."""
    with contextlib.suppress(LoadError):
        parse_manifest(json.dumps(document).encode())
