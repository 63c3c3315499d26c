"""The headers of a request that mean something here, scanned once.

Scanning never fails, so that even a request which is refused for its headers is answered under its
own ids; ``checked`` raises for what makes a request ambiguous. Everything else that a platform or
an SDK may send (signatures, sessions, variants) is ignored, as SageMaker's contract demands.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mms.api.request_ids import accepted_caller_id
from mms.errors import UnsupportedMediaType, ValidationError
from mms.target import parse_target
from mms.types import TargetModel

TARGET = b"x-amzn-sagemaker-target-model"
ATTRIBUTES = b"x-amzn-sagemaker-custom-attributes"
_KNOWN = frozenset(
    {
        TARGET,
        ATTRIBUTES,
        b"content-type",
        b"accept",
        b"content-length",
        b"content-encoding",
        b"transfer-encoding",
        b"x-request-id",
    }
)
_GZIP = frozenset({b"gzip", b"x-gzip"})
_NO_CODING = frozenset({b"identity", b""})
_LISTS = frozenset({b"accept", ATTRIBUTES, b"content-encoding", b"transfer-encoding"})
_MAX_VALUE = 1024  # SageMaker's bound on every header that is the caller's to fill
_BOUNDED = frozenset({TARGET, ATTRIBUTES, b"content-type", b"accept"})


@dataclass(slots=True)
class RequestHead:
    """What was found; ``repeated`` and ``oversized`` name a header that is, if one is."""

    values: dict[bytes, bytes]
    repeated: bytes
    oversized: bytes

    @property
    def caller_id(self) -> str:
        return accepted_caller_id(self.values.get(b"x-request-id"))

    @property
    def content_length(self) -> int | None:
        """None for a chunked body; the parser below has checked that it is a number."""
        value = self.values.get(b"content-length")
        if value is not None:
            return int(value)
        return None if b"transfer-encoding" in self.values else 0

    @property
    def is_plain(self) -> bool:
        """Nothing about it has to be looked at twice."""
        return not (self.repeated or self.oversized or b"transfer-encoding" in self.values)

    def checked(self) -> None:
        """Raise for what can't be answered whatever the model says."""
        values = self.values
        if self.is_plain:
            return
        if self.repeated:
            raise ValidationError(f"The header {self.repeated.decode()} was sent more than once.")
        if values.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
            raise ValidationError("The only Transfer-Encoding that is accepted is chunked.")
        if self.oversized:
            raise ValidationError(
                f"The header {self.oversized.decode()} is longer than {_MAX_VALUE} bytes."
            )

    def coding(self) -> str:
        """How the body is encoded: "" or "gzip". Raises UnsupportedMediaType for all else."""
        value = self.values.get(b"content-encoding")
        if value is None:
            return ""
        codings = [coding.strip(b" \t") for coding in value.lower().split(b",")]
        codings = [coding for coding in codings if coding not in _NO_CODING]
        if not codings:
            return ""
        if len(codings) == 1 and codings[0] in _GZIP:
            return "gzip"
        raise UnsupportedMediaType(
            f"Content-Encoding {ascii(value.decode('latin-1'))[:80]} is not read here: send gzip "
            "(x-gzip) or identity, one of them."
        )

    def target(self) -> TargetModel | None:
        """The target model that the headers name; raises ValidationError, ModelNotFound."""
        value = self.values.get(TARGET)
        return None if value is None else parse_target(value)


def scan(headers: Iterable[tuple[bytes, bytes]]) -> RequestHead:
    """Pick the known headers (names come in lower case), blanks around values stripped."""
    values: dict[bytes, bytes] = {}
    repeated = oversized = b""
    for name, value in headers:
        if name not in _KNOWN:
            continue
        if name not in values:
            values[name] = value.strip(b" \t")
        elif name in _LISTS:
            values[name] += b", " + value.strip(b" \t")
        else:
            repeated = name
        if len(values[name]) > _MAX_VALUE and name in _BOUNDED:
            oversized = name
    return RequestHead(values, repeated, oversized)


def head_without_upgrade(
    method: bytes, url: bytes, headers: Iterable[tuple[bytes, bytes]]
) -> bytes:
    """The head again, less what the parser would stop at: it skips such a request's body."""
    lines = [method + b" " + url + b" HTTP/1.1"]
    lines += [name + b": " + value for name, value in headers if name != b"upgrade"]
    return b"\r\n".join([*lines, b"\r\n"])
