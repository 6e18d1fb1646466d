"""A plot of time against size, as an SVG file without any library."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

_WIDTH, _HEIGHT = 640, 400
_LEFT, _TOP, _RIGHT, _BOTTOM = 70, 20, 130, 50
_COLOURS = ("#4c78a8", "#f58518", "#54a24b", "#b279a2", "#888888")


def log_log(lines: Mapping[str, Sequence[tuple[float, float]]], x: str, y: str) -> str:
    """An SVG of lines over logarithmic axes, a marker at each point, names at the lines' ends."""
    points = [point for line in lines.values() for point in line]
    left, right = _decades([p[0] for p in points])
    low, high = _decades([p[1] for p in points])

    def place(point: tuple[float, float]) -> tuple[float, float]:
        across = (math.log10(point[0]) - left) / (right - left)
        up = (math.log10(point[1]) - low) / (high - low)
        inner = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
        return _LEFT + across * inner[0], _HEIGHT - _BOTTOM - up * inner[1]

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
    ]
    for power in range(left, right + 1):
        at, bottom = place((10.0**power, 10.0**low))
        _, top = place((10.0**power, 10.0**high))
        parts.append(_line(at, bottom, at, top))
        parts.append(_text(at, bottom + 18, f"{10.0**power:g}", "middle"))
    for power in range(low, high + 1):
        start, at = place((10.0**left, 10.0**power))
        end, _ = place((10.0**right, 10.0**power))
        parts.append(_line(start, at, end, at))
        parts.append(_text(start - 6, at + 4, f"{10.0**power:g}", "end"))
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 10, x, "middle"))
    parts.append(
        f'<text transform="translate(16 {_HEIGHT / 2:.0f}) rotate(-90)" '
        f'text-anchor="middle">{y}</text>'
    )
    for (name, line), colour in zip(lines.items(), _COLOURS, strict=False):
        where = [place(point) for point in line]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in where)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in where]
        parts.append(_text(where[-1][0] + 8, where[-1][1] + 4, name, "start", colour))
    return "\n".join([*parts, "</svg>", ""])


def _decades(values: Sequence[float]) -> tuple[int, int]:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#dddddd"/>'


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#333333") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{text}</text>'
