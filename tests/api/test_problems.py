from __future__ import annotations

import inspect
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mms import errors
from mms.api.problems import STATUS, InternalFailure, problem_of, status_of
from mms.api.runtime import runtime_problem_of

ALL = [
    cls
    for _, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, errors.MmsError) and cls.__module__ == errors.__name__
    if cls is not errors.OtherEnvironment  # between a worker and the engine: no caller sees it
]
# The public table: what callers and dashboards stand on.
PUBLISHED = {
    "ValidationError": 400,
    "Unauthorized": 401,
    "ModelNotFound": 404,
    "NotFound": 404,
    "MethodNotAllowed": 405,
    "NotAcceptable": 406,
    "RequestTimeout": 408,
    "ModelAlreadyLoaded": 409,
    "PayloadTooLarge": 413,
    "UnsupportedMediaType": 415,
    "ModelLoadError": 422,
    "ModelNotReadyException": 429,
    "HeadersTooLarge": 431,
    "ModelError": 500,
    "ServiceUnavailable": 503,
    "ModelTimeout": 504,
    "InsufficientStorage": 507,
}


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_every_error_has_a_row_of_its_own_code(cls: type[errors.MmsError]) -> None:
    """A class has a row, or its nearest parent with the same code has."""
    row = next(parent for parent in cls.__mro__ if parent in STATUS)
    assert row.__dict__.get("code") == cls.code
    assert status_of(cls("x")) == PUBLISHED[cls.code]


def test_the_published_table_is_complete() -> None:
    """No code is published that no class has."""
    assert {cls.code for cls in ALL} == set(PUBLISHED)


def test_the_body_has_the_three_members() -> None:
    """And survives any message."""
    problem = problem_of(errors.ValidationError('a "quote", \ud800 and\nline'))
    document = json.loads(problem.body("id-1"))
    assert document == {
        "ErrorCode": "ValidationError",
        "Message": 'a "quote", \ud800 and\nline',
        "RequestId": "id-1",
    }


@given(st.none() | st.floats())
def test_retry_headers_are_sane_whatever_was_asked(wait_s: float | None) -> None:
    """Positive whole numbers, bounded, for no number too."""
    head = dict(problem_of(errors.Overloaded("x", retry_after_s=wait_s)).head())
    seconds, milliseconds = int(head[b"retry-after"]), int(head[b"x-amz-retry-after"])
    assert 1 <= seconds <= 3600
    assert 1 <= milliseconds <= 3_600_000
    assert seconds == max(1, math.ceil(milliseconds / 1000))


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_retry_headers_are_on_429_and_503_only(cls: type[errors.MmsError]) -> None:
    """Both, always; elsewhere neither."""
    problem = problem_of(cls("x"))
    names = {name for name, _ in problem.head()}
    assert ({b"retry-after", b"x-amz-retry-after"} <= names) == (problem.status in {429, 503})


@pytest.mark.parametrize(
    ("error", "from_model", "status", "code"),
    [
        (errors.ValidationError("no target"), False, 400, "ValidationError"),
        (errors.ValidationError("bad column"), True, 424, "ModelError"),
        (errors.ModelNotFound("no such key"), True, 400, "ValidationError"),
        (errors.PayloadTooLarge("big"), False, 413, "RequestEntityTooLargeException"),
        (errors.UnsupportedMediaType("x"), True, 424, "ModelError"),
        (errors.NotAcceptable("x"), True, 424, "ModelError"),
        (errors.ModelLoadError("corrupt"), True, 424, "ModelError"),
        (errors.ModelNotReady("loading"), True, 429, "ModelNotReadyException"),
        (errors.ModelError("boom"), True, 424, "ModelError"),
        (errors.Overloaded("full"), True, 503, "ServiceUnavailable"),
        (errors.Draining("bye"), True, 503, "ServiceUnavailable"),
        (errors.NoRoom("full"), True, 503, "ServiceUnavailable"),
        (errors.StoreUnavailable("down"), True, 503, "ServiceUnavailable"),
        (errors.ModelTimeout("slow"), True, 424, "ModelError"),
        (errors.InsufficientStorage("never"), True, 503, "ServiceUnavailable"),
        (InternalFailure(), True, 500, "InternalFailure"),
    ],
)
def test_the_runtime_surface_tells_the_platform_from_the_model(
    error: errors.MmsError, from_model: bool, status: int, code: str
) -> None:
    """Whatever the model's side says no with is 424; a 507 never gets out."""
    problem = runtime_problem_of(error, from_model=from_model)
    assert (problem.status, problem.code) == (status, code)


def test_a_model_error_carries_the_original() -> None:
    """Status and message of what a container would have answered."""
    document = json.loads(
        runtime_problem_of(errors.ValidationError("row 1"), from_model=True).body("id")
    )
    assert document["OriginalStatusCode"] == 400
    assert document["OriginalMessage"] == "row 1"
    assert document["LogStreamArn"] == ""
    assert document["ErrorCode"] == "CLIENT_ERROR_FROM_MODEL"
    assert document["Message"] == 'Received client error (400) from primary with message "row 1".'


def test_a_model_that_timed_out_has_status_0_as_on_the_platform() -> None:
    """The platform got no answer, and says so in its own words."""
    problem = runtime_problem_of(errors.ModelTimeout("slow"), from_model=True)
    assert problem.members["OriginalStatusCode"] == 0
    assert "timed out while waiting for a response from container primary" in problem.message
