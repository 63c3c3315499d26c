"""The lines to copy: how to ask the demo's server and look into its bucket.

Pure text, correct as printed: a test runs them. Each is one line, however long, since that is what
survives being copied out of a terminal.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mms.demo.sample import Sample


def curl_line(url: str, sample: Sample) -> str:
    headers = [
        f"-H {shlex.quote(f'{name}: {value}')}"
        for name, value in sample.headers().items()
        if name != "Accept"
    ]
    return " ".join(["curl -s", f"{url}/invocations", *headers, "-d", shlex.quote(sample.body)])


def python_line(url: str, sample: Sample) -> str:
    """boto3 as for SageMaker; only the address is another, and any credentials will do."""
    made = _call(
        "boto3.client", "sagemaker-runtime", endpoint_url=url, **_credentials("any", "any")
    )
    asked = _call(
        "invoke_endpoint",
        EndpointName="demo",
        TargetModel=sample.target,
        ContentType=sample.content_type,
        Body=sample.body,
    )
    return _python(f'import boto3; print({made}.{asked}["Body"].read().decode())')


def aws_line(endpoint_url: str, key: str, secret: str, uri: str) -> str:
    return (
        f"AWS_ACCESS_KEY_ID={key} AWS_SECRET_ACCESS_KEY={secret} AWS_DEFAULT_REGION=us-east-1 "
        f"aws s3 ls --recursive --endpoint-url {endpoint_url} {uri}"
    )


def list_line(endpoint_url: str, key: str, secret: str, uri: str) -> str:
    """The same for who has no AWS command line."""
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    made = _call("boto3.resource", "s3", endpoint_url=endpoint_url, **_credentials(key, secret))
    return _python(
        f"import boto3; [print(o.size, o.key) for o in "
        f"{made}.{_call('Bucket', bucket)}.objects.{_call('filter', Prefix=prefix)}]"
    )


def _credentials(key: str, secret: str) -> dict[str, str]:
    return {
        "region_name": "us-east-1",
        "aws_access_key_id": key,
        "aws_secret_access_key": secret,
    }


def _call(name: str, *args: str, **options: str) -> str:
    parts = [_quoted(arg) for arg in args]
    parts += [f"{option}={_quoted(value)}" for option, value in options.items()]
    return f"{name}({', '.join(parts)})"


def _python(code: str) -> str:
    program = os.path.relpath(sys.executable)
    shorter = min(program, sys.executable, key=len)
    return f"{shlex.quote(shorter)} -c {shlex.quote(code)}"


def _quoted(text: str) -> str:
    # JSON's string is Python's too, and its quotes go well inside a shell's single ones.
    return json.dumps(text, ensure_ascii=False)
