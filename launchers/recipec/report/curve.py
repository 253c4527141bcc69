"""A chart as an inline SVG: no script, colours from CSS classes, readable in print."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

Points = Sequence[tuple[float, float]]

LEFT, RIGHT, TOP, BOTTOM = 56, 14, 12, 34
SMOOTH = 60  # with more points, a smoothed line is drawn over the measured one
MOST = 800  # points of a line that are drawn: of more, the lowest and the highest of each stretch


class Line(NamedTuple):
    """A line of a chart. `css` is its class, which gives its colour; `dots` marks each point."""

    name: str
    points: Points
    css: str
    dots: bool = False


def svg(title: str, lines: Sequence[Line], *, width: int = 760, height: int = 280, across: str = "step") -> str:
    """Return a chart of lines over steps; an empty string when no point is finite."""
    drawn = [line._replace(points=[point for point in line.points if all(map(math.isfinite, point))]) for line in lines]
    drawn = [line for line in drawn if line.points]
    everything = [point for line in drawn for point in line.points]
    if not everything:
        return ""
    ys = _value_ticks([y for _, y in everything])
    xs = ticks(0, max(x for x, _ in everything), 8 if width > 500 else 5, whole=True)
    right, low, high = max(xs[-1], 1.0), ys[0], ys[-1]

    def x_of(step: float) -> float:
        return LEFT + (width - LEFT - RIGHT) * step / right

    def y_of(value: float) -> float:
        return height - BOTTOM - (height - TOP - BOTTOM) * (value - low) / (high - low)

    def drawn_line(points: Points, css: str) -> str:
        text = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in points)
        return f'<polyline class="{css}" points="{text}"/>'

    parts = [
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(_label(title, drawn))}">'
    ]
    for y in ys:
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{width - RIGHT}" y1="{y_of(y):.1f}" y2="{y_of(y):.1f}"/>')
        parts.append(
            f'<text class="tick" x="{LEFT - 8}" y="{y_of(y) + 4:.1f}" text-anchor="end">{number_text(y)}</text>'
        )
    for x in xs:
        place = f'x="{x_of(x):.1f}" y="{height - BOTTOM + 18}"'
        end = "end" if x == xs[-1] else "middle"
        parts.append(f'<text class="tick" {place} text-anchor="{end}">{number_text(x)}</text>')
    parts.append(
        f'<text class="tick" x="{LEFT - 8}" y="{height - BOTTOM + 18}" text-anchor="end">{escape(across)}</text>'
    )
    for line in drawn:
        many = len(line.points) > SMOOTH and not line.dots
        parts.append(drawn_line(thinned(line.points), f"{line.css} faint" if many else line.css))
        if many:
            parts.append(drawn_line(thinned(smoothed(line.points)), f"{line.css} smooth"))
        if line.dots or len(line.points) == 1:
            parts += [
                f'<circle class="{line.css}" cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="3"/>' for x, y in line.points
            ]
    parts.append("</svg>")
    return "\n".join(parts)


def thinned(points: Points, most: int = MOST) -> Points:
    """Return at most about `most` points: of each stretch the lowest and the highest, so that no peak is lost."""
    if len(points) <= most:
        return points
    stretches = most // 2
    found: list[tuple[float, float]] = []
    for index in range(stretches):
        part = points[index * len(points) // stretches : (index + 1) * len(points) // stretches]
        lowest, highest = min(part, key=lambda point: point[1]), max(part, key=lambda point: point[1])
        found += sorted({lowest, highest})
    return found


def _label(title: str, lines: Sequence[Line]) -> str:
    said = [f"{line.name} from {number_text(line.points[0][1])} to {number_text(line.points[-1][1])}" for line in lines]
    return f"{title}: " + ", ".join(said)


def _value_ticks(values: list[float]) -> list[float]:
    low, high = min(values), max(values)
    if low >= 0 and low < high / 3:
        low = 0.0
    return ticks(low, high, 5)


def ticks(low: float, high: float, count: int, *, whole: bool = False) -> list[float]:
    """Return about `count` evenly spaced round numbers, the first at most `low`, the last at least `high`."""
    span = high - low if high > low else abs(high) or 1.0
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    if whole:
        step = max(1.0, math.ceil(step))
    first = math.floor(low / step + 1e-9)
    last = max(math.ceil(high / step - 1e-9), first + 1)
    return [index * step for index in range(first, last + 1)]


def smoothed(points: Points, weight: float = 0.9) -> list[tuple[float, float]]:
    """Return the exponential moving average of the points, with bias correction."""
    mean, total = 0.0, 0.0
    out: list[tuple[float, float]] = []
    for x, y in points:
        mean = weight * mean + (1 - weight) * y
        total = weight * total + (1 - weight)
        out.append((x, mean / total))
    return out


def number_text(value: float) -> str:
    """Return a number of a scale as text."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
