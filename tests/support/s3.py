"""Objects in the test bucket: putting them, and making the archives that go in."""

from __future__ import annotations

import gzip
import io
import tarfile
from typing import TYPE_CHECKING, Literal

import zstandard

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_s3 import S3Client

    from mms.demo.s3server import S3Server


class Bucket:
    """The bucket of a server with one open client."""

    def __init__(self, server: S3Server) -> None:
        self.name = server.bucket
        self.client: S3Client = server.client()

    def put(self, key: str, body: bytes) -> str:
        """Store an object; its ETag."""
        return self.client.put_object(Bucket=self.name, Key=key, Body=body)["ETag"]

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)


def tar_of(files: Mapping[str, bytes], *, compression: Literal["", "gz", "zst"] = "gz") -> bytes:
    """An archive of ``files`` by name, the same bytes whenever it is made."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, body in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
    if compression == "zst":
        return zstandard.ZstdCompressor(write_checksum=True).compress(out.getvalue())
    return gzip.compress(out.getvalue(), mtime=0) if compression else out.getvalue()
