"""Objects of one bucket: the first is asked for by boto3, the rest as boto3 has done it.

Three fifths of the time of a small GetObject pass in boto3's layers, before and after the wire.
Where a bucket is, how it is addressed and by which region it is signed for is boto3's to find out;
once it has, a request is built from the one that was answered, signed by botocore's signer and sent
by boto3's own HTTP session. What that doesn't explain (another kind of signature, an answer that
speaks of another place) goes by boto3 again.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError
from botocore.parsers import RestXMLParser
from botocore.response import StreamingBody

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from botocore.awsrequest import AWSPreparedRequest
    from botocore.credentials import Credentials
    from mypy_boto3_s3 import S3Client

    Send = Callable[[Any], Any]

_MOVED = {301, 307, 308}
_OTHER_REGION = "AuthorizationHeaderMalformed"  # isn't the one we sign for
_NO_KEY = "NoSuchKey"
_KEPT = ("user-agent",)  # of the headers; what else is signed is of one request
_SIGNED_AS_WE_DO = {"host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"}
_ASKED = {"x-amz-checksum-mode", "range", "if-match", "if-none-match"}  # by what we want
_HEADERS = {"IfNoneMatch": "If-None-Match", "IfMatch": "If-Match", "Range": "Range"}


@dataclass(frozen=True, slots=True)
class Got:
    """An answer that has an object's bytes; header names in lower case."""

    headers: Mapping[str, str]
    body: StreamingBody


@dataclass(frozen=True, slots=True)
class _Way:
    """How to ask: what comes before a key, the region to sign for, headers of every request."""

    base: str
    region: str
    headers: Mapping[str, str]

    @classmethod
    def of(cls, request: AWSPreparedRequest, key: str) -> _Way | None:
        """As this request for ``key`` was made; None if it is of a kind that we can't make."""
        headers = {name.lower(): _text(value) for name, value in request.headers.items()}
        path = _quoted(key)
        kind, _, rest = headers.get("authorization", "").partition(" Credential=")
        scope = rest.partition(",")[0].split("/")  # key id, day, region, service, end
        signed = set(rest.partition("SignedHeaders=")[2].partition(",")[0].split(";"))
        if kind != "AWS4-HMAC-SHA256" or scope[-2:] != ["s3", "aws4_request"]:
            return None
        if not signed <= _SIGNED_AS_WE_DO | _ASKED or not request.url.endswith(f"/{path}"):
            return None
        kept = {name: headers[name] for name in _KEPT if name in headers}
        return cls(request.url.removesuffix(path), scope[-3], kept)


class ObjectGets:
    """``get_object`` of one bucket, with the client's credentials; safe for many threads.

    ``send`` is how a prepared request is sent, by the client's session.
    """

    def __init__(
        self, client: S3Client, bucket: str, credentials: Credentials | None, send: Send
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._credentials = credentials
        self._send = send
        self._way: _Way | None = None
        self._parser = RestXMLParser()
        self._thread = threading.local()
        client.meta.events.register_first("before-send.s3.GetObject", self._note)

    def get(self, key: str, more: Mapping[str, str]) -> Got:
        """``more`` is of get_object's arguments; raises what that does."""
        way, credentials = self._way, self._credentials
        if way is not None and credentials is not None:
            answer = self._send(self._request(way, credentials, key, more))
            if answer.status_code < 300:
                return _got(answer.headers, answer.raw)
            error = self._error(answer)
            if not _is_elsewhere(error):
                raise error
            self._way = None
        return self._by_boto3(key, more)

    def _by_boto3(self, key: str, more: Mapping[str, str]) -> Got:
        try:
            response = self._client.get_object(
                Bucket=self._bucket,
                Key=key,
                **more,  # type: ignore[arg-type]
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == _NO_KEY:  # from the right place
                self._way = _Way.of(self._thread.request, key)
            raise
        self._way = _Way.of(self._thread.request, key)
        return Got(response["ResponseMetadata"]["HTTPHeaders"], response["Body"])

    def _note(self, request: AWSPreparedRequest, **_: object) -> None:
        """What boto3 is about to send: of several, the one that is answered comes last."""
        self._thread.request = request

    def _request(
        self, way: _Way, credentials: Credentials, key: str, more: Mapping[str, str]
    ) -> AWSPreparedRequest:
        headers = dict(way.headers) | {_HEADERS[name]: value for name, value in more.items()}
        if "Range" not in headers:  # see mms.store.s3_client
            headers["x-amz-checksum-mode"] = "ENABLED"
        request = AWSRequest("GET", way.base + _quoted(key), headers=headers)
        frozen = credentials.get_frozen_credentials()  # renewed when it is time
        S3SigV4Auth(frozen, "s3", way.region).add_auth(request)
        prepared = request.prepare()
        prepared.stream_output = True
        return prepared

    def _error(self, answer: Any) -> ClientError:
        parsed = self._parser.parse(
            {
                "headers": answer.headers,
                "status_code": answer.status_code,
                "body": answer.content,
            },
            None,  # type: ignore[arg-type]  # an error has no shape of its own
        )
        return ClientError(parsed, "GetObject")


def _is_elsewhere(error: ClientError) -> bool:
    """Whether the bucket isn't where it was."""
    response = error.response
    moved = response["ResponseMetadata"]["HTTPStatusCode"] in _MOVED
    return moved or response["Error"]["Code"] == _OTHER_REGION


def _got(headers: Mapping[str, str], raw: Any) -> Got:
    lower = {name.lower(): value for name, value in headers.items()}
    return Got(lower, StreamingBody(raw, lower.get("content-length")))  # type: ignore[arg-type]


def _quoted(key: str) -> str:
    return quote(key, safe="/~")


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
