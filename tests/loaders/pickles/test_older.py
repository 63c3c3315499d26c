"""Names of earlier releases: there for them, of no use here, and no way around the guards."""

from __future__ import annotations

import importlib
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest
from sklearn._loss import _loss

from loaders.base import LoadError
from loaders.pickles import allowlist, older
from loaders.pickles.reconstruct import GUARDED
from loaders.pickles.unpickle import load_restricted

LOSSES = "sklearn._loss._loss"


def load(folder: Path, data: bytes) -> Any:
    (folder / "m.pkl").write_bytes(data)
    return load_restricted(folder / "m.pkl")[0]


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def named(module: str, name: str) -> bytes:
    return text(module) + text(name) + pickle.STACK_GLOBAL


def call(name: str, *arguments: bytes) -> bytes:
    function = named(LOSSES, f"__pyx_unpickle_{name}")
    return b"\x80\x04" + function + b"(" + b"".join(arguments) + b"tR."


def test_no_older_name_stands_in_for_a_newer_or_a_guarded_one() -> None:
    """They add to the list what isn't on it; each is scikit-learn's or pandas' Index."""
    assert not set(allowlist.OLDER) & set(allowlist.KINDS)
    assert not set(allowlist.OLDER) & set(GUARDED)
    for full in allowlist.OLDER:
        module, _, name = full.partition(":")
        assert module.startswith("sklearn.") or name in {"Index", "RangeIndex"}
        assert "PyFunc" not in name
        assert ".datasets" not in module


def test_what_the_installed_version_has_of_them_is_a_class() -> None:
    """No function has slipped in that a later release put under an older one's name."""
    for full in allowlist.OLDER:
        module, _, name = full.partition(":")
        try:
            found = getattr(importlib.import_module(module), name, None)
        except ImportError:
            continue
        assert found is None or isinstance(found, type)


def test_where_a_name_is_gone_the_message_says_so(tmp_path: Path) -> None:
    data = b"\x80\x04" + named("sklearn.ensemble._gb_losses", "BinomialDeviance") + b"."
    with pytest.raises(LoadError, match="which the installed version doesn't have"):
        load(tmp_path, data)


def test_a_loss_is_found_by_its_short_module_too(tmp_path: Path) -> None:
    """``_loss`` is what Cython takes it for in several releases."""
    loss = load(tmp_path, b"\x80\x04" + named("_loss", "CyHalfSquaredError") + b")R.")
    assert type(loss) is _loss.CyHalfSquaredError


MULTI = "CyHalfMultinomialLoss"
CLASS = named(LOSSES, MULTI)


def test_a_loss_is_made_as_cython_makes_it(tmp_path: Path) -> None:
    _, arguments, *_ = _loss.CyHalfMultinomialLoss().__reduce__()
    made = call(MULTI, CLASS, b"J" + struct.pack("<i", arguments[1]), b"N")
    assert type(load(tmp_path, made)) is _loss.CyHalfMultinomialLoss


@pytest.mark.parametrize(
    "data",
    [
        call(MULTI, named(LOSSES, "CyPinballLoss"), b"K\x01", b"N"),
        call(MULTI, named("builtins", "dict"), b"K\x01", b"N"),
        call(MULTI, CLASS, b"N", b"N"),
        call(MULTI, CLASS, b"K\x01", b"K\x00\x85"),
        call(MULTI, CLASS, b"K\x01", b"]"),
        call("CyPinballLoss", named(LOSSES, "CyPinballLoss"), b"K\x01", b")"),
        call("CyPinballLoss", named(LOSSES, "CyPinballLoss"), b"K\x01", b"K\x01\x85"),
        call(MULTI, CLASS, b"K\x01", b"N")[:-1] + b"K\x01\x85b.",
    ],
    ids=["other", "dict", "sum", "more", "list", "fewer", "no-float", "build"],
)
def test_a_loss_made_in_another_way_is_refused(tmp_path: Path, data: bytes) -> None:
    """Generated code reads the tuple's items without looking whether they are there."""
    with pytest.raises(LoadError):
        load(tmp_path, data)


def test_a_state_is_as_long_as_the_loss_needs() -> None:
    class CyPinballLoss:
        state: Any = None

        def __setstate__(self, state: Any) -> None:
            self.state = state

    loss = CyPinballLoss()
    older.build_loss(loss, (0.5,))
    assert loss.state == (0.5,)
    for wrong in ((), (0.5, 0.5), ("x",), [0.5], None):
        with pytest.raises(LoadError):
            older.build_loss(CyPinballLoss(), wrong)
