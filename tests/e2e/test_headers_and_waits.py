"""What answers carry beside the body, and what a request that comes too early is told."""

from __future__ import annotations

import re
from collections.abc import Iterator

import boto3
import pytest
from botocore.config import Config

from mms.demo.s3server import S3Server
from tests.e2e.world import World, world
from tests.support.models import ROW, constant_archive, dumped
from tests.support.odd_models import SlowToLoad
from tests.support.s3 import Bucket
from tests.support.server import until

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def made(
    s3_server: S3Server, bucket: Bucket, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    settings = {"MMS_TRUST": "all", "MMS_LOAD_WAIT": "1s", "MMS_ECHO_ATTRIBUTES": "true"}
    with world(s3_server, bucket, tmp_path_factory.mktemp("waits"), **settings) as made:
        made.put("m.tar.gz", constant_archive(4.0))
        yield made


def test_what_every_answer_carries(made: World) -> None:
    """Ids, tier, version, and the times of the phases there were."""
    cold = made.server.invoke("m.tar.gz", ROW, X_Request_Id="mine-1")
    warm = made.server.invoke("m.tar.gz", ROW)
    assert cold.headers["x-request-id"] == "mine-1"
    assert "x-request-id" not in warm.headers
    assert cold.headers["x-amzn-requestid"] != warm.headers["x-amzn-requestid"]
    assert (cold.tier, warm.tier) == ("store", "memory")
    version = cold.headers["x-mms-model-version"]
    assert re.fullmatch(r"[0-9A-Za-z]{1,12}", version)
    assert warm.headers["x-mms-model-version"] == version
    phases = re.findall(r"(\w+);dur=([\d.]+)", cold.headers["server-timing"])
    assert {name for name, _ in phases} == {"queue", "fetch", "load", "predict"}
    assert "fetch" not in warm.headers["server-timing"]
    echoed = warm.headers["x-amzn-sagemaker-custom-attributes"]
    assert echoed == f"mms-version={version};mms-tier=memory"


def loads(made: World, target: str) -> int:
    return sum(event["target"] == target for event in made.server.events("model loaded"))


def test_a_cold_model_that_takes_long_is_a_429_and_goes_on_loading(made: World) -> None:
    """Both retry headers; later it answers, after a single load."""
    made.put("slow.pkl", dumped(SlowToLoad(2.5)))
    early = made.server.invoke("slow.pkl", [[1, 2]])
    assert (early.status, early.code) == (429, "ModelNotReadyException")
    assert int(early.headers["retry-after"]) >= 1
    assert int(early.headers["x-amz-retry-after"]) >= 1000
    until(lambda: made.server.invoke("slow.pkl", [[1, 2]]).status == 200, "the load goes on")
    assert made.server.invoke("slow.pkl", [[1, 2]]).json() == [2.5]
    until(lambda: loads(made, "slow.pkl"), "the load is logged")
    assert loads(made, "slow.pkl") == 1
    assert len(made.gets("slow.pkl")) == 1


def test_boto3_gets_the_typed_exception(made: World) -> None:
    """ModelNotReadyException, as AWS's own client names it."""
    made.put("slower.pkl", dumped(SlowToLoad(2.5)))
    client = boto3.client(
        "sagemaker-runtime",
        endpoint_url=made.server.url,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=Config(retries={"total_max_attempts": 1}),
    )
    with pytest.raises(client.exceptions.ModelNotReadyException):
        client.invoke_endpoint(EndpointName="any", TargetModel="slower.pkl", Body=b"[[1,2]]")
    client.close()


def test_who_waits_for_a_load_delays_no_ping(made: World) -> None:
    """The front answers whatever the models do."""
    made.put("slowest.pkl", dumped(SlowToLoad(1.5)))
    waiting = made.asking("slowest.pkl", [[1, 2]])
    for path in ("/ping", "/livez", "/readyz", "/execution-parameters", "/"):
        assert made.server.get(path).status == 200
    assert made.server.invoke("m.tar.gz", ROW).json() == [4.0]
    assert waiting.result().status in {200, 429}
