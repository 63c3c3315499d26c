"""One SVG for the README: every figure as a bar, drawn to the scale of what it is held to.

A bar that reaches the line is met, whatever its unit; where less is better the ratio is turned
over. The numbers themselves stand beside the bars. It says the same without colours: what is met
is filled, what isn't is hatched.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from loadtests.bench.report import amount, by_part
from loadtests.bench.rows import Row

_SVG = 'xmlns="http://www.w3.org/2000/svg" font-family="system-ui, sans-serif"'
_WIDTH = 1080
_BARS_AT = 570
_UNIT = 130  # pixels from nothing to "at least"
_LONGEST = 2.0  # in those; what is longer is cut, and marked
_SAID_AT = _BARS_AT + _LONGEST * _UNIT + 24
_STEP = 28
_TOP = 40
_MET, _UNMET, _INK, _SOFT = "#1d5c38", "#c2571a", "#1f2328", "#6e7781"
_HATCH = (
    '<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" '
    'patternTransform="rotate(45)"><rect width="6" height="6" fill="#ffffff"/>'
    f'<rect width="2.5" height="6" fill="{_UNMET}"/></pattern></defs>'
)


def reach(row: Row, value: float) -> float:
    """How far ``value`` goes towards what the row is held to: 1 is there."""
    assert row.at_least
    if row.better == "higher":
        return value / row.at_least
    return row.at_least / value if value else _LONGEST


def draw(rows: Sequence[Row], machine: str) -> str:
    parts = by_part(row for row in rows if row.at_least)
    drawn: list[str] = []
    y = _TOP
    for part, some in parts.items():
        drawn += _part(part, some, y)
        y += _STEP * (len(some) + 1) + 14
    height = y + 44
    return "\n".join(
        [
            f'<svg {_SVG} viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}">',
            _HATCH,
            f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
            _text(16, 24, "Measured, as a share of what it is held to", weight="600", size=15),
            *drawn,
            *_legend(y + 4),
            _text(16, y + 36, machine, fill=_SOFT, size=11),
            "</svg>\n",
        ]
    )


def _part(title: str, rows: Sequence[Row], y: int) -> list[str]:
    """A heading, its bars, and the line that they are held to."""
    line = _BARS_AT + _UNIT
    top, bottom = y + _STEP, y + _STEP * (len(rows) + 1)
    return [
        _text(16, y + 19, title, weight="600"),
        _text(line, y + 19, "held to", anchor="middle", fill=_SOFT, size=11),
        *(part for i, row in enumerate(rows) for part in _bar(row, top + _STEP * i)),
        f'<path d="M{line} {top - 4}V{bottom}" stroke="{_INK}" stroke-dasharray="4 3"/>',
    ]


def _bar(row: Row, y: int) -> list[str]:
    title = _text(_BARS_AT - 10, y + 15, row.title, anchor="end", size=12)
    held = f"{'≥' if row.better == 'higher' else '≤'} {amount(row.at_least or 0, row.unit)}"
    if row.value is None:
        return [title, _text(_SAID_AT, y + 15, f"not measured ({held})", weight="700")]
    reached = reach(row, row.value)
    width = min(reached, _LONGEST) * _UNIT
    said = f"{amount(row.value, row.unit)} ({held})"
    parts = [title, _box(_BARS_AT, y + 3, width, is_met=row.is_met)]
    if reached > _LONGEST:  # it goes on
        parts.append(_text(_BARS_AT + width + 3, y + 16, "»", fill=_MET, weight="600", size=15))
    if row.aim:
        parts.append(_diamond(_BARS_AT + min(reach(row, row.aim), _LONGEST) * _UNIT, y + 11))
    weight = "400" if row.is_met else "700"
    parts.append(_text(_SAID_AT, y + 15, said, weight=weight))
    return parts


def _box(x: float, y: float, width: float, *, is_met: bool | None) -> str:
    fill, stroke = (_MET, _MET) if is_met else ("url(#hatch)", _UNMET)
    box = f'x="{x:.1f}" y="{y}" width="{width:.1f}" height="16"'
    return f'<rect {box} fill="{fill}" stroke="{stroke}"/>'


def _diamond(x: float, y: float) -> str:
    points = f"{x:.1f},{y - 5} {x + 5:.1f},{y} {x:.1f},{y + 5} {x - 5:.1f},{y}"
    return f'<polygon points="{points}" fill="#ffffff" stroke="{_INK}"/>'


def _legend(y: int) -> list[str]:
    return [
        _box(16, y, 28, is_met=True),
        _text(50, y + 13, "met", size=12),
        _box(90, y, 28, is_met=False),
        _text(124, y + 13, "not met", size=12),
        _diamond(196, y + 8),
        _text(208, y + 13, "the aim", size=12),
    ]


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
