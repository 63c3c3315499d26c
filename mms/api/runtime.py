"""How errors look on the SageMaker runtime surface: an unchanged boto3 raises its own types.

There a caller talks to a platform in front of a container: whatever the model's side answers with,
but 2xx, is a 424 ``ModelError`` that carries the original status; what the platform itself refuses
keeps a status of its own. Never writes a response; ``mms.api.invoke`` does.
"""

from __future__ import annotations

import re

from mms import errors
from mms.api.problems import InternalFailure, Problem, problem_of, status_of

INVOKED_VARIANT = (b"x-amzn-invoked-production-variant", b"AllTraffic")
_ENDPOINT_NAME = re.compile(r"[a-zA-Z0-9](?:-*[a-zA-Z0-9])*")
_MAX_ENDPOINT_NAME = 63
_TIMED_OUT = (
    "Your invocation timed out while waiting for a response from container primary. Review the "
    "latency metrics for each container in Amazon CloudWatch, resolve the issue, and try again."
)

# Refused by the platform: class → (status, code). Whatever isn't here is the model's.
_PLATFORM: dict[type[errors.MmsError], tuple[int, str]] = {
    errors.ModelNotFound: (400, "ValidationError"),
    errors.Unauthorized: (403, "AccessDeniedException"),
    errors.PayloadTooLarge: (413, "RequestEntityTooLargeException"),
    errors.RequestTimeout: (408, "RequestTimeout"),
    errors.HeadersTooLarge: (431, "HeadersTooLarge"),
    errors.MethodNotAllowed: (405, "MethodNotAllowed"),
    errors.NotFound: (404, "UnknownOperationException"),
    errors.ModelNotReady: (429, "ModelNotReadyException"),
    errors.ServiceUnavailable: (503, "ServiceUnavailable"),
    errors.InsufficientStorage: (503, "ServiceUnavailable"),  # a 507 never reaches this surface
}


def check_endpoint_name(name: str) -> None:
    """Raise ValidationError unless SageMaker would take ``name`` as an EndpointName."""
    if len(name) > _MAX_ENDPOINT_NAME or not _ENDPOINT_NAME.fullmatch(name):
        raise errors.ValidationError(
            "The endpoint name is not valid: 1 to 63 letters, digits and hyphens are allowed, "
            "and a letter or digit at both ends."
        )


def runtime_problem_of(error: errors.MmsError, *, from_model: bool) -> Problem:
    """The error as boto3 expects it; ``from_model``: the request had reached the model's side."""
    if isinstance(error, InternalFailure):
        return problem_of(error)
    if isinstance(error, errors.ValidationError) and not from_model:
        return problem_of(error)
    for cls in type(error).__mro__:
        if cls in _PLATFORM:
            return _platform_problem(error, *_PLATFORM[cls])
    return _model_problem(error)


def _platform_problem(error: errors.MmsError, status: int, code: str) -> Problem:
    message = error.message
    if isinstance(error, errors.ModelNotFound):
        message = (
            f"Failed to download model data for container primary: {message.rstrip('.')}. Please "
            "ensure that there is an object located at the URL and that the role passed to "
            "CreateModel has permissions to download the object."
        )
    return Problem(status=status, code=code, message=message, retry_after_s=error.retry_after_s)


def _model_problem(error: errors.MmsError) -> Problem:
    status, original = status_of(error), error.message
    if isinstance(error, errors.ModelTimeout):
        status, original = 0, _TIMED_OUT  # the platform got no answer: it says 0
    is_client = 400 <= status < 500
    return Problem(
        status=424,
        code="ModelError",
        message=f"Received {'client' if is_client else 'server'} error ({status}) from primary "
        f'with message "{original}".',
        members={
            "ErrorCode": "CLIENT_ERROR_FROM_MODEL" if is_client else "INTERNAL_FAILURE_FROM_MODEL",
            "OriginalStatusCode": status,
            "OriginalMessage": original,
            "LogStreamArn": "",
        },
    )
