"""The demo's bucket: puts the artifacts there that it doesn't have yet.

Owns the prefix and the comparison by ETag. What else lies under the prefix is left alone: it may
be the user's own.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from mms.demo.problem import DemoError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mypy_boto3_s3 import S3Client

PREFIX = "prod/"


def upload(client: S3Client, bucket: str, artifacts: Mapping[str, Path]) -> int:
    """Bring the prefix up to date; returns how many artifacts had to be sent."""
    try:
        there = _etags(client, bucket)
        sent = 0
        for target, path in artifacts.items():
            content = path.read_bytes()
            etag = hashlib.md5(content, usedforsecurity=False).hexdigest()
            if there.get(PREFIX + target) != etag:
                client.put_object(Bucket=bucket, Key=PREFIX + target, Body=content)
                sent += 1
    except (BotoCoreError, ClientError) as error:
        raise DemoError(f"the S3 server doesn't take the models: {error}") from error
    return sent


def _etags(client: S3Client, bucket: str) -> dict[str, str]:
    """What lies there, with the MD5 that S3 gives to an object of one part."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=PREFIX)
    return {
        one["Key"]: one["ETag"].strip('"') for page in pages for one in page.get("Contents", [])
    }
