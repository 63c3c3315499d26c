"""Servers for the end-to-end tests: real processes on a real bucket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from mms.demo.s3server import S3Server
from tests.support.server import Server

Serve = Callable[..., Server]


@pytest.fixture
def serve(
    tmp_path: Path, s3_server: S3Server, bucket_prefix: str
) -> Iterator[Callable[..., Server]]:
    """``serve(MMS_…="…")``: a ready server on this test's prefix, stopped at the end."""
    with ExitStack() as servers:
        count = iter(range(100))

        def start(**settings: str) -> Server:
            own = {
                **s3_server.environ(),
                "MMS_MODELS": f"s3://{s3_server.bucket}/{bucket_prefix}",
                "MMS_S3_ENDPOINT_URL": s3_server.endpoint_url,
            }
            folder = tmp_path / f"server{next(count)}"
            return servers.enter_context(Server(folder, own | settings))

        yield start
