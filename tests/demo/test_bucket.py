from __future__ import annotations

from typing import TYPE_CHECKING

from mms.demo.bucket import PREFIX, upload
from mms.demo.s3server import S3Server

if TYPE_CHECKING:
    from pathlib import Path


def test_only_what_is_missing_or_different_is_sent(tmp_path: Path) -> None:
    """A real bucket: all at first, nothing the second time, then just what changed; what else
    lies there stays.
    """
    artifacts = {f"us/m{i}.joblib": tmp_path / f"m{i}" for i in range(3)}
    for path in artifacts.values():
        path.write_bytes(path.name.encode())
    with S3Server() as s3:
        client = s3.client()
        client.put_object(Bucket=s3.bucket, Key=PREFIX + "own.joblib", Body=b"own")
        sent = [upload(client, s3.bucket, artifacts) for _ in range(2)]
        artifacts["us/m1.joblib"].write_bytes(b"new")
        sent.append(upload(client, s3.bucket, artifacts))
        listed = client.list_objects_v2(Bucket=s3.bucket, Prefix=PREFIX)["Contents"]
        changed = client.get_object(Bucket=s3.bucket, Key=PREFIX + "us/m1.joblib")["Body"].read()
        client.close()
    assert sent == [3, 0, 1]
    assert changed == b"new"
    assert {one["Key"] for one in listed} == {PREFIX + name for name in [*artifacts, "own.joblib"]}
