"""The loss curve as an inline SVG: no script, colours from CSS variables, readable in print."""

from __future__ import annotations

import math
from collections.abc import Sequence

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 760, 300
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 14, 40
SMOOTH = 60  # with more points, a smoothed line is drawn over the measured one


def svg(train: Points, evaluation: Points) -> str:
    """Return the curve of (step, loss) points; an empty string when no point is finite."""
    train = [point for point in train if all(map(math.isfinite, point))]
    evaluation = [point for point in evaluation if all(map(math.isfinite, point))]
    everything = [*train, *evaluation]
    if not everything:
        return ""
    xs, ys = ticks(0, max(x for x, _ in everything), 8, whole=True), _loss_ticks([y for _, y in everything])
    right, low, high = max(xs[-1], 1.0), ys[0], ys[-1]

    def x_of(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * step / right

    def y_of(loss: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (loss - low) / (high - low)

    def line(points: Points, css: str) -> str:
        text = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in points)
        return f'<polyline class="{css}" points="{text}"/>'

    parts = [
        f'<svg class="curve" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="curve-title">',
        f'<title id="curve-title">{_title(train, evaluation)}</title>',
    ]
    for y in ys:
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y_of(y):.1f}" y2="{y_of(y):.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 8}" y="{y_of(y) + 4:.1f}" text-anchor="end">{_label(y)}</text>')
    for x in xs:
        parts.append(
            f'<text class="tick" x="{x_of(x):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{_label(x)}</text>'
        )
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    parts.append(f'<text class="tick" x="{middle:.1f}" y="{HEIGHT - 4}" text-anchor="middle">step</text>')
    if train:
        many = len(train) > SMOOTH
        parts.append(line(train, "measured faint" if many else "measured"))
        if many:
            parts.append(line(smoothed(train), "measured"))
    if evaluation:
        parts.append(line(evaluation, "held-out"))
        for x, y in evaluation:
            parts.append(f'<circle class="held-out" cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="3.5"/>')
    parts.append("</svg>")
    return "\n".join(parts)


def _title(train: Points, evaluation: Points) -> str:
    parts = [
        f"{name} from {_label(points[0][1])} to {_label(points[-1][1])}"
        for name, points in (("training loss", train), ("validation loss", evaluation))
        if points
    ]
    return ", ".join(parts)


def _loss_ticks(values: list[float]) -> list[float]:
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


def _label(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
