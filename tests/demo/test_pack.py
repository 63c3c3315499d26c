from __future__ import annotations

import io
import tarfile

import pytest

from mms.demo.pack import pack

CONTENT = b"a model" * 100


@pytest.mark.parametrize("ending", [".tar.gz", ".tgz", ".tar"])
def test_an_archive_holds_the_one_file(ending: str) -> None:
    """The ending decides; inside is one plain file, whole."""
    packed = pack(f"us/ny/a{ending}", "model.joblib", CONTENT)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        (member,) = archive.getmembers()
        found = archive.extractfile(member)
        assert found is not None
        assert (member.name, found.read()) == ("model.joblib", CONTENT)
    assert packed.startswith(b"\x1f\x8b") == (ending != ".tar")


@pytest.mark.parametrize("ending", [".joblib", ".pkl", ".onnx"])
def test_a_single_file_is_itself(ending: str) -> None:
    """No archive around it."""
    assert pack(f"a{ending}", "x", CONTENT) == CONTENT


def test_equal_models_are_equal_bytes() -> None:
    """No time and no user goes in: the ETag tells that the upload is there already."""
    assert pack("a.tar.gz", "m", CONTENT) == pack("a.tar.gz", "m", CONTENT)
