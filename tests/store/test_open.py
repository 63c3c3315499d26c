"""From the models setting to a store."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mms.errors import ValidationError
from mms.store.open import open_store, split_s3_url

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("url", "bucket", "prefix"),
    [
        ("s3://models", "models", ""),
        ("s3://models/", "models", ""),
        ("s3://models/a/b", "models", "a/b/"),
        ("s3://my.models-2/a b/ü?#/", "my.models-2", "a b/ü?#/"),
    ],
)
def test_bucket_and_prefix(url: str, bucket: str, prefix: str) -> None:
    """A prefix gets its trailing slash, and is literal otherwise."""
    assert split_s3_url(url) == (bucket, prefix)
    assert open_store(url).id == f"s3://{bucket}/{prefix}"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "s3://",
        "s3:///a",
        "s3://Models/a",
        "s3://a_b/c",
        "s3://ab/c",
        "s3://-abc/d",
        "s3://a..b/c",
        "s3://user:key@bucket/c",
        "s3://models//a",
        "s3://models/a\nb",
        "http://models/a",
        "gs://models/a",
    ],
)
def test_what_names_no_store_is_refused(url: str) -> None:
    """A wrong setting is named, not tried."""
    with pytest.raises(ValidationError):
        open_store(url)


def test_a_path_is_a_folder(tmp_path: Path) -> None:
    """Anything without a scheme is a local folder."""
    store = open_store(str(tmp_path))
    assert store.id == str(tmp_path)
    store.check()


def test_opening_a_store_imports_no_client() -> None:
    """The half second that boto3 takes isn't paid at start."""
    code = """
import sys
from mms.store.open import open_store
from mms.store import disk, fetch, s3
open_store("s3://models/a/", endpoint_url="http://127.0.0.1:1").stats()
print(sorted({"boto3", "botocore", "urllib3", "numpy"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
