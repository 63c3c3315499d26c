"""What must not be seen is taken out; what is harmless stays."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mms.redaction import is_secret_name, redact

SECRET = "hunter2hunter2"


@pytest.mark.parametrize(
    "text",
    [
        f"GET https://b.s3.amazonaws.com/k?X-Amz-Date=1&X-Amz-Signature={SECRET} failed",
        f"GET /b/k?AWSAccessKeyId=a&Signature={SECRET}",
        f"X-Amz-Signature={SECRET}",
        f"Authorization: AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=c, Signature={SECRET}",
        f"{{'authorization': 'Bearer {SECRET}'}}",
        f"sent Bearer {SECRET}",
        f"Proxy-Authorization = Basic {SECRET}",
        f"http://me:{SECRET}@proxy:3128/",
        f"aws_secret_access_key={SECRET}",
        f'{{"aws_secret_access_key": "{SECRET}"}}',
        f"AWS_SESSION_TOKEN={SECRET}",
        f"x-amz-security-token: {SECRET}",
        f"password = {SECRET}",
        f"api-key:{SECRET}",
    ],
)
def test_secrets_go(text: str) -> None:
    """Signed URLs, credentials and tokens are taken out wherever they stand."""
    assert SECRET not in redact(text)
    assert SECRET not in redact(f"before {text}\nafter")


def test_access_keys_go() -> None:
    """An AWS access key id is known by its shape."""
    assert redact("key AKIAIOSFODNN7EXAMPLE used") == "key [redacted] used"


@pytest.mark.parametrize(
    "text",
    [
        "us/ny/tokenizer.joblib",
        "key us/ny/model.joblib is missing",
        "https://bucket.example/us/ny/model.joblib answered 503",
        "the next token is wrong",
        "s3://bucket/prefix/",
        "did you mean this? Yes",
    ],
)
def test_harmless_text_stays(text: str) -> None:
    """Keys, targets and addresses can be read."""
    assert redact(text) == text


@given(st.text(max_size=200))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    """What was taken out is not taken out again."""
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    "piece",
    ["secret", "token=", "x:", "://", "?a", "?a=", "signature", "basic ", "authorization ", "a@"],
)  # fmt: skip
def test_hostile_text_costs_linear_time(piece: str) -> None:
    """Nothing anyone sends makes a log line cost seconds (a hang guard, not a benchmark)."""
    started = time.monotonic()
    redact(piece * (8192 // len(piece)) + "secret")
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("name", ["password", "MMS_ADMIN_TOKEN", "api_key", "body", "Cookie"])
def test_names_of_secrets_are_known(name: str) -> None:
    """A field is judged by its name too."""
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["target", "model", "MMS_PORT", "max_body", "bytes"])
def test_other_names_are_not(name: str) -> None:
    """What is needed to understand an event is shown."""
    assert not is_secret_name(name)
