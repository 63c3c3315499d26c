from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mms.api.load_request import LoadRequest, load_request_in
from mms.errors import ValidationError


def multi(**document: object) -> LoadRequest:
    return load_request_in(json.dumps(document).encode(), "multi")


@pytest.mark.parametrize("url", ["/opt/ml/models/x/model", "/tmp/a b", "/a/./b//c/", "/devices/x"])
def test_any_absolute_local_folder_will_do(url: str) -> None:
    """It is kept as it came; unknown keys are ignored."""
    assert multi(model_name="h.1", url=url, more=1) == LoadRequest(name="h.1", url=url)


@pytest.mark.parametrize(
    "url",
    [
        None, 1, "", "relative/x", "./x", "s3://b/k", "http://h/x", "file:///x", "/a/../b", "/..",
        "/dev", "/dev/shm/x", "//dev/shm", "/./proc/self", "/proc//self", "///sys/x", "/sys",
        "/a\x00b", "/a\nb", "/a\ud800", "/" + "a" * 4096,
    ],
)  # fmt: skip
def test_another_url_is_refused(url: object) -> None:
    """Relative, upward, remote, the kernel's, unprintable, or no text."""
    with pytest.raises(ValidationError, match="url"):
        multi(model_name="h", url=url)


@pytest.mark.parametrize("name", [None, 1, "", " a", "a\n", "a\x00", "\ud800", "a" * 1025, []])
def test_a_name_must_be_printable_and_bounded(name: object) -> None:
    """Opaque, but not anything."""
    with pytest.raises(ValidationError, match=r"model.name"):
        multi(model_name=name, url="/x")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 60_000, b"nul"])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    """Deep nesting too."""
    with pytest.raises(ValidationError, match="JSON"):
        load_request_in(body, "multi")


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"null", b"1"])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    """The message says which keys it has."""
    with pytest.raises(ValidationError, match="model_name"):
        load_request_in(body, "multi")


def test_where_the_server_brings_models_the_url_is_ignored() -> None:
    """It may be absent or anything."""
    assert load_request_in(b'{"model_name": "a/b.onnx", "url": 7}', "self").url is None


@given(st.binary(max_size=60))
def test_any_bytes_are_a_load_or_refused(body: bytes) -> None:
    """Nothing but ValidationError comes out."""
    with contextlib.suppress(ValidationError):
        assert load_request_in(body, "multi").url is not None
