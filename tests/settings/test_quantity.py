"""Sizes, shares, durations: what is read, and that nothing else is."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mms.settings.quantity import Share, parse_count, parse_duration, parse_share, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("6291456", 6291456),
        ("512MiB", 512 << 20),
        ("4GiB", 4 << 30),
        ("6MB", 6_000_000),
        ("1.5GiB", 3 << 29),
        ("2 TiB", 2 << 40),
        ("3kib", 3072),
        ("7B", 7),
        (" 1kB ", 1000),
    ],
)
def test_sizes_people_write(text: str, size: int) -> None:
    """A size is decimal with MB and binary with MiB, in any case."""
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30), ("30s", 30), ("500ms", 0.5), ("70ms", 0.07), ("5m", 300), ("1.5h", 5400)],
)
def test_durations_people_write(text: str, seconds: float) -> None:
    """A duration without a unit is in seconds."""
    assert parse_duration(text) == seconds


def test_shares_people_write() -> None:
    """A share is above nothing and at most all."""
    assert parse_share("70%") == Share(0.7)
    assert parse_share("0.5 %") == Share(0.005)
    assert parse_share("100%").of(12345) == 12345


@pytest.mark.parametrize("parse", [parse_size, parse_share, parse_duration, parse_count])
@pytest.mark.parametrize(
    "text",
    ["", " ", "inf", "nan", "-1", "+1", "1e3", "0x10", "1_000", "٣", "²", "1..2", ".5", "5.",
     "1\n2", "9" * 40, "MiB", "%", "1 0", "1MiBB", "1x", "0%", "101%", "-5%"],
)  # fmt: skip
def test_nothing_else_is_a_quantity(parse: Callable[[str], object], text: str) -> None:
    """Infinity, signs, exponents, other scripts' digits, and unknown units are refused."""
    with pytest.raises(ValueError, match="not a"):
        parse(text)


@given(st.text(max_size=20))
def test_any_text_is_a_finite_number_or_refused(text: str) -> None:
    """No text makes a parser raise anything but ValueError, or return a senseless number."""
    for parse in (parse_size, parse_duration, parse_count):
        try:
            value = parse(text)
        except ValueError:
            continue
        assert value >= 0
        assert math.isfinite(value)


@given(st.integers(0, 10**17), st.sampled_from(["", "B", "kB", "MB", "KiB", "MiB", "GiB"]))
def test_sizes_are_exact(number: int, unit: str) -> None:
    """No size goes through a float: every byte counts."""
    scale = {"": 1, "B": 1, "kB": 10**3, "MB": 10**6, "KiB": 1 << 10, "MiB": 1 << 20}
    assert parse_size(f"{number}{unit}") == number * scale.get(unit, 1 << 30)
