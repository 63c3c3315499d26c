from __future__ import annotations

import socket

from mms.demo.server import HOST, environment, free_port


def test_the_wanted_port_is_taken_if_it_is_free() -> None:
    """Another one is found when somebody has it."""
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        assert free_port(port) not in {port, 0}
    assert free_port(port) == port


def test_the_caller_can_set_up_the_server_but_not_lead_it_elsewhere() -> None:
    """Own settings win, credentials and SageMaker's ways stay outside, other MMS_* go through."""
    base = {
        "PATH": "/bin",
        "AWS_PROFILE": "work",
        "SAGEMAKER_MULTI_MODEL": "true",
        "MMS_WORKERS": "4",
        "MMS_MODELS": "s3://elsewhere/",
    }
    assert environment(base, {"MMS_MODELS": "s3://models/", "AWS_ACCESS_KEY_ID": "demo"}) == {
        "PATH": "/bin",
        "MMS_WORKERS": "4",
        "MMS_MODELS": "s3://models/",
        "AWS_ACCESS_KEY_ID": "demo",
    }
