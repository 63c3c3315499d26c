"""The S3 client as this server wants it. boto3 is imported on first use: that takes half a second.

No retries: they are :mod:`mms.store.fetch`'s. Checksums are asked for here and verified by us, not
by boto3: it fails with a TypeError on a 304 that carries one, and holds a 206 against the checksum
of the whole object; we hold the whole object against it, ranges included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mms.store.s3_problems import client_problem

if TYPE_CHECKING:
    from botocore.credentials import Credentials
    from mypy_boto3_s3 import S3Client


def make_client(
    endpoint_url: str | None, connect_s: float, read_s: float, *, connections: int
) -> tuple[S3Client, Credentials | None]:
    """A client with boto3's own credential chain, and what it has found by that.

    Raises an error of ours for wrong settings.
    """
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    config = Config(
        connect_timeout=connect_s,
        read_timeout=read_s,
        max_pool_connections=connections,
        retries={"total_max_attempts": 1, "mode": "standard"},
        response_checksum_validation="when_required",
        signature_version="s3v4",
        tcp_keepalive=True,
    )
    try:
        session = boto3.session.Session()
        client = session.client("s3", endpoint_url=endpoint_url, config=config)
    except (BotoCoreError, ValueError) as exc:
        name = type(exc).__name__ if isinstance(exc, BotoCoreError) else "ValueError"
        raise client_problem(name)[0] from exc
    client.meta.events.register("before-call.s3.GetObject", _ask_for_checksum)
    return client, session.get_credentials()


def _ask_for_checksum(params: dict[str, Any], **_: object) -> None:
    """Whole objects only: a range has no checksum of its own."""
    if "Range" not in params["headers"]:
        params["headers"]["x-amz-checksum-mode"] = "ENABLED"
