"""The main job: models in a bucket answer by name, cold and warm, over HTTP and boto3."""

from __future__ import annotations

from collections.abc import Callable

import boto3
import pytest
from botocore.config import Config

from tests.support.models import ROW, constant, constant_archive, dumped, iris
from tests.support.s3 import Bucket, tar_of
from tests.support.server import Server

pytestmark = pytest.mark.e2e


def test_a_model_is_fetched_once_and_then_answers_from_memory(
    serve: Callable[..., Server], bucket: Bucket, bucket_prefix: str
) -> None:
    """The first request says store, the next memory, and the answer tells the model."""
    for city, value in (("us/ny", 1.0), ("us/ca", 2.0)):
        bucket.put(f"{bucket_prefix}{city}/m.tar.gz", constant_archive(value))
    server = serve()
    for city, value in (("us/ny", 1.0), ("us/ca", 2.0)):
        cold = server.invoke(f"{city}/m.tar.gz", {"instances": ROW})
        assert (cold.status, cold.json()) == (200, {"predictions": [value]}), cold
        warm = server.invoke(f"{city}/m.tar.gz", {"instances": ROW})
        assert (cold.tier, warm.tier) == ("store", "memory")
        assert warm.json() == cold.json()
    assert server.metric("mms_resident_models") == 2
    assert server.stop() == 0


@pytest.mark.parametrize("name", ["m.joblib", "m.pkl", "m.tar", "m.tgz", "m.tar.gz"])
def test_every_kind_of_artifact_serves(
    serve: Callable[..., Server], bucket: Bucket, bucket_prefix: str, name: str
) -> None:
    """Bare files and archives, compressed or not."""
    body = dumped(constant(3.0))
    if "tar" in name or name.endswith("tgz"):
        body = tar_of({"deep/in/model.joblib": body}, compression="" if name == "m.tar" else "gz")
    bucket.put(bucket_prefix + name, body)
    answer = serve().invoke(name, {"instances": ROW})
    assert answer.json() == {"predictions": [3.0]}


def test_unchanged_boto3_code_works(
    serve: Callable[..., Server], bucket: Bucket, bucket_prefix: str
) -> None:
    """``invoke_endpoint`` with a target model; errors arrive as the typed exceptions."""
    bucket.put(bucket_prefix + "iris.joblib", dumped(iris()))
    server = serve()
    client = boto3.client(
        "sagemaker-runtime",
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=Config(retries={"total_max_attempts": 1}),
    )
    answer = client.invoke_endpoint(
        EndpointName="any", TargetModel="iris.joblib", ContentType="text/csv", Body=b"5,3,1,0\n"
    )
    assert answer["Body"].read() == b'{"predictions":[0]}'
    with pytest.raises(client.exceptions.ModelError) as caught:
        client.invoke_endpoint(EndpointName="any", TargetModel="iris.joblib", Body=b"[[1]]")
    assert dict(caught.value.response)["OriginalStatusCode"] == 400
    with pytest.raises(client.exceptions.ValidationError):
        client.invoke_endpoint(EndpointName="any", TargetModel="none.joblib", Body=b"[[1]]")
    client.close()
