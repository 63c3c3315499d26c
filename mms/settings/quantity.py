"""Sizes, shares and durations as people write them: ``512MiB``, ``70%``, ``500ms``.

Pure text to number. Owns the spelling only: which values make sense where is said by the settings
table. Infinity, NaN, signs and exponents are no quantities; digits are ASCII digits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_SIZE = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,6}))? ?([kmgt]?i?b)?", re.IGNORECASE)
_SHARE = re.compile(r"([0-9]{1,3})(?:\.([0-9]{1,6}))? ?%")
_DURATION = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,6}))? ?(ms|s|m|h)?", re.IGNORECASE)
_BYTES: dict[str, int] = {"": 1, "b": 1} | {
    f"{letter}{infix}b": base**power
    for power, letter in enumerate("kmgt", start=1)
    for infix, base in (("", 1000), ("i", 1024))
}
_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Share:
    """A part of something not known yet: ``70%`` is ``Share(0.7)``."""

    fraction: float

    def of(self, total: int) -> int:
        return int(total * self.fraction)


def parse_size(text: str) -> int:
    """Bytes of ``512MiB``, ``6MB``, ``1.5GiB`` or plain bytes; raises ValueError."""
    match = _SIZE.fullmatch(text.strip())
    unit = _BYTES.get((match[3] or "").lower()) if match else None
    if match is None or unit is None:
        raise ValueError(f"not a size: {text!r}")
    part = match[2] or ""
    return (int(match[1] + part) * unit) // int("1" + "0" * len(part))


def parse_share(text: str) -> Share:
    """The part that ``70%`` names: above 0, at most 100; raises ValueError."""
    match = _SHARE.fullmatch(text.strip())
    percent = float(f"{match[1]}.{match[2] or 0}") if match else 0.0
    if not 0 < percent <= 100:
        raise ValueError(f"not a share: {text!r}")
    return Share(percent / 100)


def parse_duration(text: str) -> float:
    """Seconds of ``30``, ``30s``, ``500ms``, ``5m`` or ``1h``; raises ValueError."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"not a duration: {text!r}")
    unit = (match[3] or "").lower()
    number = float(f"{match[1]}.{match[2] or 0}")
    # Milliseconds are divided, not multiplied by 0.001: 70 ms is 0.07, not 0.07000000000000001.
    return number / 1000 if unit == "ms" else number * _SECONDS[unit]


def parse_count(text: str) -> int:
    """A plain whole number; raises ValueError."""
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise ValueError(f"not a whole number: {text!r}")
    return int(text)
