"""One SVG for the README: every figure as a bar, drawn to the scale of what it is held to.

A bar that reaches the line is met, whatever its unit; where less is better the ratio is turned
over. The numbers themselves stand beside the bars.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from loadtests.bench.report import amount
from loadtests.bench.rows import Row

_SVG = 'xmlns="http://www.w3.org/2000/svg" font-family="system-ui, sans-serif"'
_WIDTH = 1040
_BARS_AT = 530
_UNIT = 130  # pixels from nothing to "at least"
_LONGEST = 2.0  # in those; what is longer is cut, and marked
_STEP = 28
_TOP = 58
_MET, _UNMET, _INK, _SOFT = "#2f7d4f", "#c2571a", "#1f2328", "#6e7781"


def reach(row: Row, value: float) -> float:
    """How far ``value`` goes towards what the row is held to: 1 is there."""
    assert row.at_least
    if row.better == "higher":
        return value / row.at_least
    return row.at_least / value if value else _LONGEST


def draw(rows: Sequence[Row], machine: str) -> str:
    shown = [row for row in rows if row.at_least]
    height = _TOP + _STEP * len(shown) + 40
    line = _BARS_AT + _UNIT
    parts = [
        f'<svg {_SVG} viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(16, 24, "Measured, as a share of what it is held to", weight="600", size=15),
        _text(line, 48, "at least", anchor="middle", fill=_SOFT, size=11),
    ]
    for i, row in enumerate(shown):
        parts += _bar(row, _TOP + _STEP * i)
    bottom = height - 34
    parts += [
        f'<path d="M{line} {_TOP - 4}V{bottom}" stroke="{_INK}" stroke-dasharray="4 3"/>',
        _text(16, height - 12, f"Diamond: the aim. {machine}", fill=_SOFT, size=11),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _bar(row: Row, y: int) -> list[str]:
    reached = reach(row, row.value)
    width = min(reached, _LONGEST) * _UNIT
    colour = _MET if row.is_met else _UNMET
    end = _BARS_AT + width
    held = f"{'≥' if row.better == 'higher' else '≤'} {amount(row.at_least or 0, row.unit)}"
    said = f"{amount(row.value, row.unit)} ({held})"
    parts = [
        _text(_BARS_AT - 10, y + 15, row.title, anchor="end"),
        f'<rect x="{_BARS_AT}" y="{y + 3}" width="{width:.1f}" height="16" fill="{colour}"/>',
    ]
    if reached > _LONGEST:  # it goes on
        parts.append(_text(end + 3, y + 16, "»", fill=colour, weight="600", size=15))
    if row.aim:
        parts.append(_diamond(_BARS_AT + min(reach(row, row.aim), _LONGEST) * _UNIT, y + 11))
    parts.append(_text(_BARS_AT + _LONGEST * _UNIT + 24, y + 15, said, fill=colour))
    return parts


def _diamond(x: float, y: float) -> str:
    points = f"{x:.1f},{y - 5} {x + 5:.1f},{y} {x:.1f},{y + 5} {x - 5:.1f},{y}"
    return f'<polygon points="{points}" fill="#ffffff" stroke="{_INK}"/>'


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    fill: str = _INK,
    weight: str = "400",
    size: int = 13,
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" fill="{fill}" font-size="{size}" '
        f'font-weight="{weight}">{escape(text)}</text>'
    )
