"""How one event becomes one line: JSON for machines, text for people on a terminal.

Pure apart from reading the clock's string form. Whatever the values hold, a line is one line, of
bounded length, printable, and without secrets. A traceback is shown only for our own bugs, that is
at level error and above; below it an exception is its type and message.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Iterator
from json.encoder import encode_basestring_ascii as quote

from mms.redaction import REDACTED, is_secret_name, redact

MAX_VALUE = 2048
MAX_TRACEBACK = 8192
MAX_FIELDS = 32

# What every LogRecord has is not a field of the event; the rest came in through ``extra``.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",  # uvicorn's copy of the message with terminal colours
}
_OWN = frozenset({"time", "level", "event", "logger"})


class JsonLine(logging.Formatter):
    """``{"time": …, "level": …, "event": …, "logger": …, fields…}``."""

    def format(self, record: logging.LogRecord) -> str:
        parts = [
            f'{{"time":"{rfc3339(record.created)}"',
            f'"level":"{record.levelname.lower()}"',
            f'"event":{quote(_event(record))}',
            f'"logger":{quote(record.name)}',
        ]
        parts += (f"{quote(name)}:{_json_value(value)}" for name, value in _fields(record))
        return ",".join(parts) + "}"


class TextLine(logging.Formatter):
    """``12:00:00.123 WARNING worker died  worker=2 exit_code=-9``."""

    def format(self, record: logging.LogRecord) -> str:
        level = "" if record.levelno == logging.INFO else f"{record.levelname} "
        fields = "".join(f" {printable(name)}={_text_value(v)}" for name, v in _fields(record))
        gap = " " if fields else ""
        return f"{clock_time(record.created)} {level}{printable(_event(record))}{gap}{fields}"


def clock_time(seconds: float) -> str:
    """The time of day here, to the millisecond: for people who watch."""
    whole = int(seconds)
    clock = time.strftime("%H:%M:%S", time.localtime(whole))
    return f"{clock}.{int((seconds - whole) * 1000):03d}"


def rfc3339(seconds: float) -> str:
    """UTC with milliseconds, as RFC 3339 has it."""
    whole = int(seconds)
    clock = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
    return f"{clock}.{int((seconds - whole) * 1000):03d}Z"


def printable(text: str) -> str:
    """``text`` on one line that can't steer a terminal: what isn't printable is escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _event(record: logging.LogRecord) -> str:
    try:
        return _clean(record.getMessage())
    except Exception:  # noqa: BLE001 - a library's wrong arguments must not lose the event
        return _clean(str(record.msg))


def _fields(record: logging.LogRecord) -> Iterator[tuple[str, object]]:
    error = record.exc_info[1] if record.exc_info else None
    # A line's own names can't be taken by a field.
    own = _OWN if error is None else _OWN | {"error", "traceback"}
    extra = [item for item in vars(record).items() if item[0] not in _STANDARD]
    for given, value in extra[:MAX_FIELDS]:
        name = f"{given}_" if given in own else given[:64]
        yield name, REDACTED if is_secret_name(given) else _bounded(value)
    if error is None:
        return
    yield "error", _clean(f"{type(error).__name__}: {error}")
    if record.levelno >= logging.ERROR:
        lines = traceback.format_exception(error)
        # The end of a traceback tells the most, so the beginning is what goes.
        yield "traceback", redact("".join(lines)[-MAX_TRACEBACK:])


def _bounded(value: object) -> bool | int | float | str | None:
    """A JSON scalar: anything else becomes text of bounded length without secrets."""
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, int) and abs(value) < 1 << 63:
        return value
    try:
        return _clean(value if isinstance(value, str) else str(value))
    except Exception:  # noqa: BLE001 - a value that can't be shown, a huge int among them
        return f"<{type(value).__name__}>"


def _clean(text: str) -> str:
    # Cut twice: a secret that straddles the final cut must have been seen whole.
    text = redact(text[: 4 * MAX_VALUE])
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "…"


def _json_value(value: object) -> str:
    if isinstance(value, str):
        return quote(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value)
    # JSON has no inf and nan: as text they keep the line readable for any parser.
    return text if text[-1].isdigit() else f'"{text}"'


def _text_value(value: object) -> str:
    text = printable(str(value))
    return quote(text) if " " in text or not text else text
