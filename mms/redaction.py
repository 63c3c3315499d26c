"""What must never be seen in a log or an error line, and how it is taken out.

Pure. Secrets are known by their place (the query of a URL, the user in one, after a word such as
``Authorization``) or by the name of the field they are in. Rather too much is taken out than too
little: every query string of a URL goes, because that is where signatures are.
"""

from __future__ import annotations

import re

REDACTED = "[redacted]"

_NAME = re.compile(
    r"secret|token|passw|authorization|credential|cookie|signature|api_?key|access_?key"
    r"|^(body|payload|headers|custom_attributes)$",
    re.IGNORECASE,
)
# Every repetition in front of a required part is bounded, so that hostile text costs linear time.
_RULES = (
    # the query of a URL, and the user in front of its host
    (re.compile(r"\?[^\s\"'<>=?]{1,64}=[^\s\"'<>]*"), f"?{REDACTED}"),
    (re.compile(r"://[^\s\"'<>/?@]{1,256}@"), f"://{REDACTED}@"),
    # a part of a signed query that stands alone
    (re.compile(r"(?i)\b(x-amz-[a-z-]{1,32}|signature)=[^\s\"'<>&,]+"), rf"\1={REDACTED}"),
    # an Authorization value has blanks in it: the rest of the line goes
    (re.compile(r"(?i)\b(authorization\b[\"']?\s{0,4}[:=]\s{0,4})[^\r\n]+"), rf"\1{REDACTED}"),
    (re.compile(r"(?i)\b(bearer|basic) {1,4}[\w.~+/=-]{8,}"), rf"\1 {REDACTED}"),
    (
        re.compile(
            r"(?i)((?:secret|token|password|passwd|api[_-]?key|access[_-]?key)[\w-]{0,32}[\"']?"
            r"\s{0,4}[:=]\s{0,4}[\"']?)[^\s\"',;&]+"
        ),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b"), REDACTED),
)
_HINT = re.compile(
    r"(?i)://|\?|signature|amz-|authorization|bearer|basic |secret|token|passw|key|AKIA|ASIA"
)


def redact(text: str) -> str:
    """``text`` without secrets. Bound its length first: this reads it several times."""
    if _HINT.search(text) is None:
        return text
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def is_secret_name(name: str) -> bool:
    """Whether a field or variable of this name holds what must not be shown."""
    return _NAME.search(name) is not None
