"""From the text of the models setting to the store it names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from mms.errors import ValidationError
from mms.store.local import LocalStore

if TYPE_CHECKING:
    from mms.store.base import ArtifactStore

_BUCKET = re.compile(r"[a-z0-9](?:[a-z0-9-]|\.(?!\.)){1,61}[a-z0-9]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def open_store(url: str, *, endpoint_url: str | None = None, connections: int = 8) -> ArtifactStore:
    """The store at ``s3://bucket/prefix/`` or in a local folder; asks nothing of it yet.

    ``connections`` is how many fetches run side by side.
    """
    if not url.startswith("s3://"):
        if not url or _SCHEME.match(url):
            raise ValidationError(
                f"{url!r} is no place for models: s3://bucket/prefix/ or a folder"
            )
        return LocalStore(Path(url))
    from mms.store.s3 import S3Store  # a local folder has no use for it

    bucket, prefix = split_s3_url(url)
    return S3Store(bucket, prefix, endpoint_url=endpoint_url, connections=connections)


def split_s3_url(url: str) -> tuple[str, str]:
    """Bucket and prefix; a prefix without its trailing slash gets one."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise ValidationError(
            f"{url!r}: {bucket!r} is no bucket name (3 to 63 of a-z, 0-9, '-' and '.')"
        )
    if any(ord(char) < 32 or ord(char) == 127 for char in prefix):
        raise ValidationError(f"{url!r}: the prefix holds control characters")
    if prefix.startswith("/"):
        raise ValidationError(f"{url!r}: the prefix may not start with a slash")
    return bucket, prefix if not prefix or prefix.endswith("/") else prefix + "/"
