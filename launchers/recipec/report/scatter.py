"""A chart of points as an inline SVG: what several settings reach, the best of them joined, and a limit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from recipec.report.curve import BOTTOM, LEFT, RIGHT, TOP, number_text, ticks

WIDE = 30  # times the smallest value, from which on the scale across is logarithmic


class Dot(NamedTuple):
    """A point. `css` is its class, which gives its colour; `said` is shown where a pointer rests on it."""

    x: float
    y: float
    css: str
    said: str


def scatter(
    title: str,
    dots: Sequence[Dot],
    front: Sequence[tuple[float, float]],
    limit: float | None,
    *,
    width: int = 440,
    height: int = 240,
    across: str = "ms",
) -> str:
    """Return a chart of points, with a line through those of the `front`, and one at the `limit` across; empty without a point."""
    there = [dot for dot in dots if math.isfinite(dot.x) and math.isfinite(dot.y)]
    if not there:
        return ""
    values = [dot.x for dot in there] + ([limit] if limit is not None else [])
    low, high = min(values), max(values)
    logarithmic = low > 0 and high / low > WIDE
    xs = _log_ticks(low, high) if logarithmic else ticks(0.0, high, 5)
    ys = ticks(0.0, max(dot.y for dot in there), 5)

    def x_of(value: float) -> float:
        at = math.log(value / xs[0]) / math.log(xs[-1] / xs[0]) if logarithmic else (value - xs[0]) / (xs[-1] - xs[0])
        return LEFT + (width - LEFT - RIGHT) * at

    def y_of(value: float) -> float:
        return height - BOTTOM - (height - TOP - BOTTOM) * (value - ys[0]) / (ys[-1] - ys[0])

    parts = [
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(_label(title, there))}">'
    ]
    for y in ys:
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{width - RIGHT}" y1="{y_of(y):.1f}" y2="{y_of(y):.1f}"/>')
        parts.append(
            f'<text class="tick" x="{LEFT - 8}" y="{y_of(y) + 4:.1f}" text-anchor="end">{number_text(y)}</text>'
        )
    for x in xs:
        end = "end" if x == xs[-1] else "middle"
        place = f'x="{x_of(x):.1f}" y="{height - BOTTOM + 18}"'
        parts.append(f'<text class="tick" {place} text-anchor="{end}">{number_text(x)}</text>')
    parts.append(
        f'<text class="tick" x="{LEFT - 24}" y="{height - BOTTOM + 18}" text-anchor="end">{escape(across)}</text>'
    )
    if limit is not None:
        at = f"{x_of(limit):.1f}"
        parts.append(f'<line class="limit" x1="{at}" x2="{at}" y1="{TOP}" y2="{height - BOTTOM}"/>')
    if len(front) > 1:
        line = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in front)
        parts.append(f'<polyline class="front" points="{line}"/>')
    for dot in there:
        place = f'cx="{x_of(dot.x):.1f}" cy="{y_of(dot.y):.1f}" r="4"'
        parts.append(f'<circle class="{dot.css}" {place}><title>{escape(dot.said)}</title></circle>')
    parts.append("</svg>")
    return "\n".join(parts)


def _label(title: str, dots: Sequence[Dot]) -> str:
    return f"{title}: " + "; ".join(dot.said for dot in dots)


def _log_ticks(low: float, high: float) -> list[float]:
    """Return numbers of 1, 2 or 5 times a power of ten, the first at most `low`, the last at least `high`; at most six."""
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        all_of_them = [factor * 10.0**power for power in powers for factor in factors]
        first = max(one for one in all_of_them if one <= low * 1.0000001)
        last = min(one for one in all_of_them if one >= high * 0.9999999)
        found = [one for one in all_of_them if first <= one <= last]
        if len(found) <= 6:
            break
    return found
