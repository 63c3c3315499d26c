"""What a worker's environment holds: no secret, its threads' limits, everything else."""

from __future__ import annotations

import pytest

from mms.fleet.environment import SETTINGS, foreign, scrubbed


@pytest.mark.parametrize(
    "name",
    [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
        "aws_profile",
        "MMS_ADMIN_TOKEN",
        "MMS_API_KEYS",
        "HF_TOKEN",
        "my_secret_thing",
        "DB_PASSWORD",
        "PGPASSWD",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "STRIPE_KEY",
        "OPENAI_APIKEY",
    ],
)
def test_secrets_stay_with_the_front(name: str) -> None:
    assert name not in scrubbed({name: "x"})


def test_an_address_with_a_password_is_a_secret() -> None:
    """Whatever it is called."""
    proxies = {"HTTPS_PROXY": "http://me:pw@proxy:3128", "HTTP_PROXY": "http://proxy:3128"}
    assert scrubbed(proxies).keys() & proxies.keys() == {"HTTP_PROXY"}


def test_the_rest_stays() -> None:
    """A machine's own settings for its libraries are its operator's."""
    kept = {"PATH": "/bin", "OPENBLAS_CORETYPE": "Haswell", "KEYBOARD": "us", "LANG": "C"}
    assert scrubbed(kept) == kept | SETTINGS


def test_threads_are_ours_to_set() -> None:
    assert scrubbed({"OMP_NUM_THREADS": "64"})["OMP_NUM_THREADS"] == "1"


def test_a_checkout_goes_before_what_is_installed() -> None:
    assert scrubbed({"PYTHONPATH": "/b"}, root="/a")["PYTHONPATH"] == "/a:/b"
    assert scrubbed({}, root="/a")["PYTHONPATH"] == "/a"


def test_another_interpreter_hears_nothing_meant_for_this_one() -> None:
    """No module path, no home, no virtual environment of the front's; but all the rest."""
    kept = foreign(
        {
            "PATH": "/bin",
            "PYTHONPATH": "/site-packages",
            "PYTHONHOME": "/usr",
            "VIRTUAL_ENV": "/venv",
            "CONDA_PREFIX": "/conda",
            "MMS_ADMIN_TOKEN": "x",
        }
    )
    assert kept == {"PATH": "/bin", "PYTHONSAFEPATH": "1", **SETTINGS}
