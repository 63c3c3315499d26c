from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mms.errors import MmsError, ModelNotFound, ValidationError
from mms.target import parse_target

# Mostly what could go wrong: separators, dots, blanks, invisible and composable characters.
TRICKY = st.text(st.sampled_from("ab./\\ %~é\u0301e\u200b\u202e\u2028\x00\x7f\x85\u00a0\ud800日"))
ANY = st.text() | TRICKY


@pytest.mark.parametrize(
    "target",
    [
        "model.tar.gz",
        "us/ny/model.tar.gz",
        "a/b/model/",
        "team a/m 1.tar.gz",
        "a%2Fb",
        "jp/東京/モデル.onnx",
        "x/..m/y..z".replace("..m", "m.."),
        "Ä" + "n" * 200,
        "~home/$HOME/{x}",
    ],
)
def test_what_names_a_model_is_taken_as_it_comes(target: str) -> None:
    """Text and its UTF-8 bytes are the same target, character for character."""
    assert parse_target(target) == target
    assert parse_target(target.encode()) == target


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        ("", "empty"),
        ("/", "begins with /"),
        ("/etc/passwd", "begins with /"),
        ("//a", "begins with /"),
        ("..", '".."'),
        ("a/../b", '".."'),
        ("a/..", '".."'),
        ("./a", '"."'),
        ("a/./b", '"."'),
        ("a//b", "two slashes"),
        ("a//", "two slashes"),
        ("a\\b", "backslash"),
        ("a\x00b", "U+0000"),
        ("a\nb", "U+000A"),
        ("a\x7fb", "U+007F"),
        ("a\x85b", "U+0085"),
        ("é\x85b", "U+0085"),
        ("a\u2028b", "U+2028"),
        ("a\u202eb", "U+202E"),
        ("a\u200bb", "U+200B"),
        ("a\u00a0b", "U+00A0"),
        ("a\ufeffb", "U+FEFF"),
        ("a\ud800b", "U+D800"),
        ("a\ue000b", "U+E000"),
        ("e\u0301.onnx", "NFC"),
        ("\u212b.onnx", "NFC"),
        (" a", "blank"),
        ("a ", "blank"),
        ("a /b", "blank"),
        ("a/ b", "blank"),
        ("a" * 256, "segment is longer"),
        ("é" * 128, "segment is longer"),
        ("a/" * 513, "1024"),
        (b"\xff.tar.gz", "UTF-8"),
        (b"\xc0\xae\xc0\xae/a", "UTF-8"),
        (b"\xed\xa0\x80", "UTF-8"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused_by_name(raw: str | bytes, word: str) -> None:
    """The message says what is wrong, and shows the target short and as plain ASCII."""
    with pytest.raises(ValidationError) as caught:
        parse_target(raw)
    message = caught.value.message
    assert word in message
    assert message.isascii()
    assert message.isprintable()
    assert len(message) < 700


@pytest.mark.parametrize("raw", [".DS_Store", "a/._model.tar.gz", ".hidden/model.onnx", "a/.b/"])
def test_hidden_files_are_no_models(raw: str) -> None:
    """A well-formed name that begins with a dot is not found, whatever the store has."""
    with pytest.raises(ModelNotFound):
        parse_target(raw)


def parsed(raw: str | bytes) -> str | None:
    try:
        return parse_target(raw)
    except MmsError:
        return None


@given(ANY)
def test_parsing_again_changes_nothing(raw: str) -> None:
    """An accepted target is its own parse, and its bytes' parse."""
    target = parsed(raw)
    if target is not None:
        assert target == raw
        assert parsed(target) == target
        assert parsed(target.encode()) == target


@given(ANY, ANY)
@example("é", "e\u0301")
@example("a/b", "a//b")
@example("a", "a/.")
def test_two_spellings_never_name_one_model(one: str, other: str) -> None:
    """Different accepted inputs give different targets, also once a store has normalised them."""
    first, second = parsed(one), parsed(other)
    if first is None or second is None or one == other:
        return
    assert first != second
    assert unicodedata.normalize("NFC", first) != unicodedata.normalize("NFC", second)


@given(ANY)
def test_an_accepted_target_stays_below_the_prefix(raw: str) -> None:
    """No empty, dot or hidden segment, nothing absolute, nothing unprintable."""
    target = parsed(raw)
    if target is not None:
        segments = target.removesuffix("/").split("/")
        assert all(segment and segment[0] != "." for segment in segments)
        assert "\\" not in target
        assert target.isprintable()
        assert len(target.encode()) <= 1024


@given(st.binary(max_size=40))
def test_any_bytes_are_parsed_or_refused(raw: bytes) -> None:
    """Nothing but the two errors comes out."""
    target = parsed(raw)
    assert target is None or target.encode() == raw
