"""What of an exception callers get to read."""

from __future__ import annotations

import errno

import pytest

from loaders.faults import first_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("too wide\n  at libfoo.so"), "ValueError: too wide"),
        (ValueError("\n\n  late  \n"), "ValueError: late"),
        (ValueError(), "ValueError"),
        (ValueError("x" * 1000), "ValueError: " + "x" * 200),
        (
            FileNotFoundError(errno.ENOENT, "No such file", "/opt/ml/model/secret/a.bin"),
            "FileNotFoundError: No such file: 'a.bin'",
        ),
    ],
)
def test_an_error_is_told_in_one_short_line(error: Exception, line: str) -> None:
    """Its kind and its first line; of a path the name, never the folders of this machine."""
    assert first_line(error) == line
