"""A line is one line, bounded, parseable and without secrets, whatever is logged."""

from __future__ import annotations

import json
import logging
import re
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mms.log.line import MAX_VALUE, JsonLine, TextLine, printable, rfc3339


def record(
    event: str = "model loaded", level: int = logging.INFO, **fields: object
) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "mms.engine", "msg": event, "created": 1.5, **fields})
    made.levelno, made.levelname = level, logging.getLevelName(level)
    return made


def parsed(made: logging.LogRecord) -> dict[str, Any]:
    line = JsonLine().format(made)
    assert "\n" not in line
    assert line.isascii()
    found = json.loads(line)
    assert isinstance(found, dict)
    return found


def failed(error: BaseException, level: int) -> logging.LogRecord:
    try:
        raise error
    except type(error):
        return record("it broke", level, exc_info=sys.exc_info())


def test_an_event_is_an_object_with_its_fields() -> None:
    """Time in UTC, level, event, logger, then what was passed as extra."""
    assert parsed(record(target="a/b.joblib", bytes=3, load_s=0.25, warm=True, etag=None)) == {
        "time": "1970-01-01T00:00:01.500Z",
        "level": "info",
        "event": "model loaded",
        "logger": "mms.engine",
        "target": "a/b.joblib",
        "bytes": 3,
        "load_s": 0.25,
        "warm": True,
        "etag": None,
    }


@given(
    st.text(max_size=60),
    st.dictionaries(
        st.text(min_size=1, max_size=20).filter(lambda n: n not in vars(record())),
        st.one_of(
            st.text(max_size=30),
            st.integers(),
            st.floats(),
            st.booleans(),
            st.none(),
            st.binary(),
            st.lists(st.text(max_size=9), max_size=2),
        ),
        max_size=3,
    ),
)
def test_whatever_is_logged_is_one_line(event: str, fields: dict[str, Any]) -> None:
    """Control characters, surrogates, NaN and huge numbers neither break nor split a line."""
    made = record(event)
    vars(made).update(fields)
    parsed(made)
    assert TextLine().format(made).isprintable()  # so one line, too


def test_a_field_cant_pose_as_the_lines_own() -> None:
    """A field named like one of the line's own gets a tail."""
    found = parsed(record(error="mine", time="never"))
    assert (found["error"], found["time_"]) == ("mine", "never")
    assert found["time"].startswith("1970")
    made = failed(ValueError("theirs"), logging.INFO)
    vars(made)["error"] = "mine"
    assert (parsed(made)["error"], parsed(made)["error_"]) == ("ValueError: theirs", "mine")


def test_values_are_bounded() -> None:
    """A value is cut, many fields are few, and an object that can't be shown is named."""

    class Bad:
        def __str__(self) -> str:
            raise RuntimeError

    found = parsed(record(big="x" * 100_000, bad=Bad(), huge=10**5000))
    assert len(found["big"]) == MAX_VALUE
    assert found["bad"] == "<Bad>"
    assert found["huge"] == "<int>"
    made = record()
    vars(made).update({f"f{n}": n for n in range(100)})
    assert len(parsed(made)) == 4 + 32


def test_secrets_are_left_out() -> None:
    """By the field's name, in text, and in the message."""
    found = parsed(record("get http://x/y?Signature=hunter2", api_token="hunter2", body="hunter2"))
    found |= parsed(record(url="https://x/y?X-Amz-Signature=hunter2"))
    assert "hunter2" not in json.dumps(found)


def test_a_failure_is_one_field_and_only_a_bug_has_a_traceback() -> None:
    """Type and message always; the traceback from level error on."""
    found = parsed(failed(ValueError("no\nway"), logging.WARNING))
    assert found["error"] == "ValueError: no\nway"
    assert "traceback" not in found
    found = parsed(failed(ValueError("no way"), logging.ERROR))
    assert found["traceback"].startswith("Traceback")
    assert found["traceback"].endswith("ValueError: no way\n")


def test_a_traceback_is_bounded_at_its_beginning() -> None:
    """The end says what happened."""
    found = parsed(failed(ValueError("x" * 20_000 + "end"), logging.ERROR))
    assert len(found["traceback"]) <= 8192
    assert found["traceback"].endswith("end\n")


def test_librarys_arguments() -> None:
    """Messages with arguments are filled in; wrong arguments don't lose the event."""
    assert parsed(record("on %s:%d", args=("h", 1)))["event"] == "on h:1"
    assert parsed(record("on %d", args=("h",)))["event"] == "on %d"


def test_text_for_people() -> None:
    """The time of day, the level unless it is info, the event and its fields."""
    line = TextLine().format(record(target="a b", n=1))
    assert re.fullmatch(r'\d\d:\d\d:01\.500 model loaded  target="a b" n=1', line)
    assert " WARNING gone" in TextLine().format(record("gone", logging.WARNING))


def test_a_terminal_cant_be_steered() -> None:
    """Escape sequences from outside are shown, not obeyed; other scripts stay readable."""
    assert printable("a\x1b[31mb\n") == r"a\x1b[31mb\n"
    assert printable("東京/モデル") == "東京/モデル"


@pytest.mark.parametrize("seconds", [0.0, 1.9999, 1_700_000_000.9995])
def test_times_never_show_a_thousand_milliseconds(seconds: float) -> None:
    """Milliseconds are cut, not rounded up past the second."""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", rfc3339(seconds))
