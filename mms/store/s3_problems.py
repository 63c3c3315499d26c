"""What an S3 answer means for us: one table from statuses and codes to errors. No I/O, no boto3.

Messages are shown to callers: they name the fault and what to do, never a key, token or URL.
"""

from __future__ import annotations

import re

from mms.errors import MmsError, StoreUnavailable
from mms.store.base import Denied, StoreRefused, missing

CHANGED = "the artifact was changed while it was read"

_SETTINGS = {
    "NoSuchBucket": "the bucket doesn't exist (MMS_MODELS, MMS_S3_ENDPOINT_URL)",
    "InvalidBucketName": "the bucket's name isn't valid",
    "AllAccessDisabled": "the bucket is disabled",
    "AccountProblem": "the account is disabled",
    "InvalidAccessKeyId": "the access key is unknown to the store (InvalidAccessKeyId)",
    "SignatureDoesNotMatch": "the secret key is wrong (SignatureDoesNotMatch)",
    "ExpiredToken": "the session token has expired (ExpiredToken)",
    "ExpiredTokenException": "the session token has expired (ExpiredToken)",
    "TokenRefreshRequired": "the session token has expired (TokenRefreshRequired)",
    "InvalidToken": "the session token isn't valid (InvalidToken)",
    "InvalidClientTokenId": "the credentials aren't valid (InvalidClientTokenId)",
    "RequestTimeTooSkewed": "this machine's clock is wrong (RequestTimeTooSkewed)",
    "AuthorizationHeaderMalformed": "the bucket is in another region: set AWS_REGION",
    "PermanentRedirect": "the bucket is in another region: set AWS_REGION",
    "IllegalLocationConstraintException": "the bucket is in another region: set AWS_REGION",
}
_CLIENT_SETTINGS = {
    "NoCredentialsError": "no AWS credentials were found: set AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY, a profile or a role",
    "PartialCredentialsError": "the AWS credentials are incomplete",
    "ProfileNotFound": "AWS_PROFILE names no profile",
    "ConfigParseError": "the AWS config file can't be parsed",
    "ValueError": "its endpoint URL isn't valid",
    "ParamValidationError": "the bucket's or the object's name isn't valid",
}
_TIMEOUTS = {"ReadTimeoutError", "ConnectTimeoutError", "TimeoutError"}
_UNREACHABLE = {"EndpointConnectionError", "ProxyConnectionError", "SSLError", "NewConnectionError"}
_THROTTLED = {
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "TooManyRequests",
    "TooManyRequestsException",
    "BandwidthLimitExceeded",
}


def client_problem(name: str) -> tuple[StoreUnavailable, str]:
    """The same for an exception of the client library, by its class's name."""
    if name in _CLIENT_SETTINGS:
        return StoreRefused(f"the model store can't be asked: {_CLIENT_SETTINGS[name]}"), "refused"
    if name in _TIMEOUTS:
        return StoreUnavailable("the model store doesn't answer in time"), "timeout"
    if name in _UNREACHABLE:
        return StoreUnavailable(f"the model store can't be reached ({name})"), "unreachable"
    return StoreUnavailable(f"the model store broke off ({name})"), "error"


def problem(status: int, code: str, target: str, *, op: str = "get") -> tuple[MmsError, str]:
    """The error that an answer to ``op`` means, and the outcome to count it under."""
    outcome = _outcome(status, code)
    if outcome == "denied" and op == "list":
        return _not_listed(target[:200]), outcome
    return _error(outcome, status, code, target[:200]), outcome


def _not_listed(prefix: str) -> Denied:
    return Denied(f"model {prefix!r}: missing, or no permission to list (s3:ListBucket)")


def _outcome(status: int, code: str) -> str:
    if code in _SETTINGS:
        return "refused"
    if code == "InvalidObjectState":
        return "archived"
    if status == 429 or code in _THROTTLED:
        return "throttled"
    if code == "KeyTooLongError":
        return "not_found"
    return {403: "denied", 404: "not_found", 412: "changed"}.get(status, "error")


def _error(outcome: str, status: int, code: str, target: str) -> MmsError:
    match outcome:
        case "refused":
            return StoreRefused(f"the model store refuses us: {_SETTINGS[code]}")
        case "archived":
            return StoreUnavailable("the artifact is archived in S3: restore it first")
        case "throttled":
            return StoreUnavailable(f"the model store is throttling ({status} {_plain(code)})")
        case "not_found":
            return missing(target)
        case "denied":  # also for a key that isn't there, to who may not list the bucket
            return Denied(
                f"model {target!r}: missing, or no permission "
                "(s3:GetObject; without s3:ListBucket S3 answers 403 for a missing key)"
            )
    said = f"the model store answered {status} ({_plain(code)})"
    return StoreUnavailable(CHANGED if outcome == "changed" else said)


def _plain(code: str) -> str:
    """A code fit for a message: it comes from outside."""
    return re.sub(r"[^0-9A-Za-z]", "", code)[:40] or "no code"
