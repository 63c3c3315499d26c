"""Stores over the real S3 server, behind the fault proxy, in small portions and short patience."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from mms.store.s3 import S3Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mms.demo.s3server import S3Server
    from tests.support.faults import FaultProxy

PART = 100_000
PAGE = 4


@pytest.fixture
def s3_environ(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3_server.environ().items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def store(
    s3_environ: None, s3_server: S3Server, fault_proxy: FaultProxy, bucket_prefix: str
) -> Iterator[S3Store]:
    opened = S3Store(
        s3_server.bucket,
        bucket_prefix,
        endpoint_url=fault_proxy.endpoint_url,
        connections=2,
        read_timeout_s=1.5,
        part_bytes=PART,
        window=3,
        page_keys=PAGE,
    )
    yield opened
    opened.close()


@pytest.fixture
def deadline() -> float:
    """Far enough for anything that should end by itself."""
    return time.monotonic() + 30
