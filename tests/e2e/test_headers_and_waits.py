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
TARGET = "X-Amzn-SageMaker-Target-Model"


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


REFUSALS: dict[int, tuple[str, str, dict[str, str]]] = {
    400: ("POST", "/invocations", {TARGET: "../m.tar.gz"}),
    404: ("POST", "/invocations", {TARGET: "none.tar.gz"}),
    405: ("GET", "/invocations", {}),
    406: ("POST", "/invocations", {TARGET: "m.tar.gz", "Accept": "image/png"}),
    415: ("POST", "/invocations", {TARGET: "m.tar.gz", "Content-Type": "image/png"}),
    422: ("POST", "/invocations", {TARGET: "broken.tar.gz"}),
    424: ("POST", "/endpoints/any/invocations", {TARGET: "broken.tar.gz"}),
    429: ("POST", "/invocations", {TARGET: "late.pkl"}),
}


@pytest.mark.parametrize("status", REFUSALS)
def test_every_refusal_can_be_followed_up(made: World, status: int) -> None:
    """One shape, the id in body and header, the caller's own id, and the type boto3 looks for."""
    made.put("broken.tar.gz", b"nonsense")
    made.put("late.pkl", dumped(SlowToLoad(2.5)))
    method, path, sent = REFUSALS[status]
    sent = {**sent, "X-Request-Id": f"mine-{status}"}
    answer = made.server.request(method, path, b"[[1,2,3,4]]" if method == "POST" else None, sent)
    assert answer.status == status, answer
    assert answer.headers["x-request-id"] == f"mine-{status}"
    assert answer.headers["content-type"] == "application/json"
    if status == 424:  # the platform's shape: it has no id of the model's side
        assert answer.headers["x-amzn-errortype"] == "ModelError"
        assert answer.json()["OriginalStatusCode"] == 422
    else:
        assert answer.headers["x-amzn-errortype"] == answer.code
    assert answer.json()["RequestId"] == answer.headers["x-amzn-requestid"]
    assert answer.message
    assert ("retry-after" in answer.headers) == (status == 429)


def test_an_id_that_could_do_harm_is_not_echoed(made: World) -> None:
    """Neither what is no plain text nor what has no end; the request is served all the same."""
    for odd in ("x" * 5000, "caf\xe9", "two words", "tab\tbed"):
        answer = made.server.invoke("m.tar.gz", ROW, X_Request_Id=odd)
        assert answer.json() == [4.0]
        assert "x-request-id" not in answer.headers
    assert made.server.invoke("m.tar.gz", ROW, X_Request_Id='a"b').headers["x-request-id"] == 'a"b'


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
    with pytest.raises(client.exceptions.ModelNotReadyException) as caught:
        client.invoke_endpoint(EndpointName="any", TargetModel="slower.pkl", Body=b"[[1,2]]")
    carried = caught.value.response["ResponseMetadata"]["HTTPHeaders"]
    assert int(carried["retry-after"]) >= 1
    assert int(carried["x-amz-retry-after"]) >= 1000
    client.close()


def test_who_waits_for_a_load_delays_no_ping(made: World) -> None:
    """The front answers whatever the models do."""
    made.put("slowest.pkl", dumped(SlowToLoad(1.5)))
    waiting = made.asking("slowest.pkl", [[1, 2]])
    for path in ("/ping", "/livez", "/readyz", "/execution-parameters", "/"):
        assert made.server.get(path).status == 200
    assert made.server.invoke("m.tar.gz", ROW).json() == [4.0]
    assert waiting.result().status in {200, 429}
