"""CSV's header parted from its rows."""

from __future__ import annotations

import pytest

from loaders.base import InputError
from loaders.rows.header import parted
from tests.loaders.support import csv


def is_text(row: list[str]) -> bool:
    return row[0].isalpha()


def test_a_header_is_what_was_declared_or_what_the_model_takes_for_one() -> None:
    """Declared absent, the model isn't asked; declared present, neither."""
    assert parted(csv("a", "1"), is_text) == (["a"], [["1"]])
    assert parted(csv("1", "2"), is_text) == (None, [["1"], ["2"]])
    assert parted(csv("a", "b", header=False), is_text) == (None, [["a"], ["b"]])
    assert parted(csv("a", "b", header=True), is_text) == (["a"], [["b"]])


def test_a_header_alone_is_no_row() -> None:
    """One that nobody declared may be a row after all: the message says how to say so."""
    with pytest.raises(InputError, match="send header=absent"):
        parted(csv("a"), is_text)
    with pytest.raises(InputError, match=r"^there are no rows$"):
        parted(csv("a", header=True), is_text)
