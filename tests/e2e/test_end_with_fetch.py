"""The end of a server that is still fetching."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from mms.demo.s3server import S3Server
from tests.support.faults import FaultProxy
from tests.support.models import ROW
from tests.support.s3 import Bucket, tar_of
from tests.support.server import Server, until

pytestmark = pytest.mark.e2e


def test_a_fetch_that_drips_does_not_hold_up_the_end(
    serve: Callable[..., Server], s3_server: S3Server, bucket: Bucket, bucket_prefix: str
) -> None:
    """Nobody waits for its artifact any more, and it could take a minute yet."""
    bucket.put(f"{bucket_prefix}m.tar.gz", tar_of({"model.joblib": os.urandom(1 << 20)}))
    with FaultProxy(s3_server.endpoint_url) as proxy:
        server = serve(MMS_S3_ENDPOINT_URL=proxy.endpoint_url, MMS_LOAD_WAIT="0.2s")
        proxy.fault("rate:10000")
        assert server.invoke("m.tar.gz", {"instances": ROW}).status == 429
        until(lambda: proxy.count("GET", "m.tar.gz"), "the artifact is asked for")
        assert server.stop(patience_s=20) == 0


def test_a_listing_that_drips_does_not_hold_up_the_end(
    serve: Callable[..., Server], s3_server: S3Server, bucket: Bucket, bucket_prefix: str
) -> None:
    """As little as a fetch; this one would take a minute."""
    for number in range(8):
        bucket.put(f"{bucket_prefix}m/{number}", b"x")
    with FaultProxy(s3_server.endpoint_url) as proxy:
        server = serve(MMS_S3_ENDPOINT_URL=proxy.endpoint_url, MMS_LOAD_WAIT="0.2s")
        proxy.fault("rate:50", part="list-type")
        assert server.invoke("m/", {"instances": ROW}).status == 429
        until(lambda: proxy.count("GET", "list-type"), "the listing is asked for")
        assert server.stop(patience_s=20) == 0
