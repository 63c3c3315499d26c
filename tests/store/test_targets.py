"""What a listing says of targets: each once, in order, and the same whatever else is there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loaders import folder
from mms.store.base import Listed
from mms.store.recognise import UNSUPPORTED
from mms.store.targets import COMPRESSED, MODEL_FILES, REFUSED, Candidate, targets_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = datetime(2026, 2, 1, tzinfo=UTC)


def listing(*keys: str) -> list[Listed]:
    return [Listed(key=key, etag=f'"{key}"', size=10, modified=NOW) for key in sorted(keys)]


def found(*keys: str) -> dict[str, str]:
    return {one.target: one.kind for one in targets_of(listing(*keys))}


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("m.tar.gz", "archive"),
        ("us/ny/M.TGZ", "archive"),
        ("m.tar", "archive"),
        ("m.tar.zst", "archive"),
        ("m.joblib", "file"),
        ("m.pkl.gz", "file"),
        ("m.onnx", "file"),
        ("m.ubj", "file"),
        ("a/xgboost-model", "file"),
        ("README.md", "other"),
        ("m.lgb", "file"),
        ("m.zip", "file"),
        ("a/model.pt", "file"),
        ("m.json", "other"),
        ("a/model", "other"),
        ("manifest.json", "other"),
        ("a//m.tar.gz", "other"),
        ("a\\b.onnx", "other"),
        ("a\n.onnx", "other"),
    ],
)
def test_a_name_says_what_a_key_is(key: str, kind: str) -> None:
    """What nobody can ask for by its name is no target either."""
    (only,) = targets_of(listing(key))
    assert (only.target, only.kind) == (key, kind)
    assert (only.etag, only.size, only.objects) == (f'"{key}"', 10, 1)


def test_hidden_files_and_folder_markers_are_left_out() -> None:
    """Nobody can ask for them, so nobody is told of them."""
    marker = Listed(key="a/", etag='"0"', size=0, modified=NOW)
    listed = sorted(
        [marker, *listing(".x.onnx", "a/.git/m.onnx", "a/m.onnx", "a/._m.onnx")],
        key=lambda one: one.key,
    )
    assert [one.target for one in targets_of(listed)] == ["a/m.onnx"]


def test_a_folder_with_a_manifest_is_one_target() -> None:
    """With everything below it, whether it comes before the manifest or after."""
    keys = (
        "x/a.onnx",
        "x/b/c.tar.gz",
        "x/manifest.json",
        "x/z.bin",
        "x/.hidden",
        "x.onnx",
        "y.tar",
    )
    found_ = list(targets_of(listing(*keys)))
    assert [(one.target, one.kind) for one in found_] == [
        ("x.onnx", "file"),
        ("x/", "folder"),
        ("y.tar", "archive"),
    ]
    assert (found_[1].size, found_[1].objects) == (40, 4)


def test_the_outermost_folder_with_a_manifest_counts() -> None:
    """Also if its manifest comes after that of one inside."""
    assert found("m/a.onnx", "m/b/c.onnx", "m/b/manifest.json", "m/manifest.json", "m/z.onnx") == {
        "m/": "folder"
    }
    assert found("m/a.onnx", "m/b/c.onnx", "m/b/manifest.json", "m/z.onnx") == {
        "m/a.onnx": "file",
        "m/b/": "folder",
        "m/z.onnx": "file",
    }


def test_a_folder_that_nobody_can_name_is_none() -> None:
    """Its files are told one by one, as what they are."""
    assert found("a//manifest.json", "a//m.onnx") == {
        "a//manifest.json": "other",
        "a//m.onnx": "other",
    }


def test_a_folder_has_a_version_of_all_its_files_and_the_time_of_the_newest() -> None:
    """It changes with any name, version or size, and with nothing else."""

    def etag(*listed: Listed) -> str:
        (only,) = targets_of(listed)
        return only.etag

    first, manifest = listing("x/a", "x/manifest.json")
    base = etag(first, manifest)
    assert etag(first, manifest) == base
    moved = Listed(key="x/a", etag=first.etag, size=10, modified=LATER)
    (candidate,) = targets_of([moved, manifest])
    assert (candidate.etag, candidate.modified) == (base, LATER)
    others = {
        etag(Listed(key="x/b", etag=first.etag, size=10, modified=NOW), manifest),
        etag(Listed(key="x/a", etag='"other"', size=10, modified=NOW), manifest),
        etag(Listed(key="x/a", etag=first.etag, size=11, modified=NOW), manifest),
        etag(manifest),
    }
    assert len(others | {base}) == 5


def test_what_no_manifest_can_claim_any_more_is_told_at_once() -> None:
    """A long listing isn't held back as a whole."""
    told: list[str] = []

    def keys() -> Iterator[Listed]:
        for key in ("a.onnx", "b/a.onnx", "b/n.onnx", "c.onnx"):
            yield Listed(key=key, etag='"1"', size=1, modified=NOW)
            told.append(f"after {key}")

    told.extend(one.target for one in targets_of(keys()))
    assert told.index("a.onnx") < told.index("after a.onnx")
    assert told.index("b/a.onnx") < told.index("after b/n.onnx")


def plainly(listed: list[Listed]) -> list[tuple[str, str]]:
    """The same by the rule as it is said, with everything in memory."""
    folders = {
        one.key.removesuffix("manifest.json")
        for one in listed
        if one.key.endswith("/manifest.json")
    }
    targets: dict[str, str] = {}
    for one in listed:
        above = [folder for folder in folders if one.key.startswith(folder)]
        if above:
            targets[min(above, key=len)] = "folder"
        else:
            targets[one.key] = "file" if one.key.endswith(".onnx") else "other"
    return list(targets.items())


_name = st.sampled_from(["a", "b", "manifest.json", "m.onnx", "z", "manifest.json.onnx", "l-"])
_key = st.lists(_name, min_size=1, max_size=4).map("/".join)


@settings(max_examples=100)
@given(keys=st.sets(_key, max_size=12))
def test_it_agrees_with_the_plain_rule(keys: set[str]) -> None:
    """Whatever is held back and for how long."""
    listed = listing(*keys)
    kinds = [(one.target, one.kind) for one in targets_of(listed)]
    assert sorted(kinds) == sorted(plainly(listed))


def test_a_listing_folder_by_folder_is_understood() -> None:
    """Some servers put ``x/…`` before ``x.onnx`` and ``x-y/…``; a folder is in one piece there."""
    keys = ("x/a", "x/manifest.json", "x/z/manifest.json", "x.onnx", "x-y/a.tar", "y/manifest.json")
    listed = [Listed(key=key, etag='"1"', size=1, modified=NOW) for key in keys]
    assert {one.target: one.kind for one in targets_of(listed)} == {
        "x/": "folder",
        "x.onnx": "file",
        "x-y/a.tar": "archive",
        "y/": "folder",
    }


def test_a_candidate_says_it_all() -> None:
    """The listing's own words are passed on."""
    (only,) = targets_of(listing("m.tar"))
    assert only == Candidate(target="m.tar", kind="archive", etag='"m.tar"', size=10, modified=NOW)


def test_the_loaders_and_the_store_know_the_same_names() -> None:
    """The store imports no loader, so each has its list: what one serves, the other lists."""
    assert {*folder._MODEL_SUFFIXES} == {*MODEL_FILES} - {*COMPRESSED}
    assert {*folder._UNSUPPORTED} == {*REFUSED} - {*UNSUPPORTED}
