"""Fixtures that start real parts; one S3 server for each test process, started when first asked."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mms.demo.s3server import S3Server
from tests.support.faults import FaultProxy
from tests.support.matrix import Recorder
from tests.support.s3 import Bucket

if TYPE_CHECKING:
    from collections.abc import Iterator

_prefixes = itertools.count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--support-matrix",
        type=Path,
        help="where to write what passed tests prove",
    )


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("--support-matrix")
    if path is not None:
        config.pluginmanager.register(Recorder(path))


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


@pytest.fixture(scope="session")
def bucket(s3_server: S3Server) -> Iterator[Bucket]:
    opened = Bucket(s3_server)
    yield opened
    opened.client.close()


@pytest.fixture
def bucket_prefix() -> str:
    """A prefix that no other test uses, with its trailing slash."""
    return f"t{next(_prefixes)}/models/"


@pytest.fixture
def fault_proxy(s3_server: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy(s3_server.endpoint_url) as proxy:
        yield proxy
