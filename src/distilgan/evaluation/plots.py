"""Small line plots as inline SVG."""

from __future__ import annotations

import html
import math

_COLOURS = ("#2f6fb4", "#c2572b", "#3a8f5c", "#8a5aa8", "#b38a1d", "#4f8f9b")


def line_plot(title: str, series: dict[str, list[tuple[float, float]]], width: int = 420, height: int = 200) -> str:
    """One plot of (x, y) points a series; a common scale, few ticks, the last value beside each name."""
    points = [p for line in series.values() for p in line if math.isfinite(p[1])]
    if not points:
        return ""
    x0, x1 = min(p[0] for p in points), max(p[0] for p in points)
    y0, y1 = min(p[1] for p in points), max(p[1] for p in points)
    y0, y1 = (y0 - 0.5, y1 + 0.5) if y0 == y1 else (y0 - 0.04 * (y1 - y0), y1 + 0.04 * (y1 - y0))
    x1 = x1 if x1 > x0 else x0 + 1
    labels = [f"{name} {line[-1][1]:.3g}" for name, line in series.items()]
    left, right, bottom = 52, 20, 24
    places = _places(labels, left, width)
    top = 12 + places[-1][1]

    def at(x: float, y: float) -> str:
        px = left + (x - x0) / (x1 - x0) * (width - left - right)
        py = height - bottom - (y - y0) / (y1 - y0) * (height - top - bottom)
        return f"{px:.1f},{py:.1f}"

    parts = [f'<svg viewBox="0 0 {width} {height}" class="plot" role="img" aria-label="{html.escape(title)}">']
    for tick in ticks(y0, y1):
        y = at(x0, tick).split(",")[1]
        parts.append(f'<line x1="{left}" x2="{width - right}" y1="{y}" y2="{y}" class="grid"/>')
        parts.append(
            f'<text x="{left - 6}" y="{y}" class="tick" text-anchor="end" dominant-baseline="middle">{tick:g}</text>'
        )
    for tick in ticks(x0, x1):
        x = at(tick, y0).split(",")[0]
        parts.append(f'<text x="{x}" y="{height - 8}" class="tick" text-anchor="middle">{_short(tick)}</text>')
    for i, (line, label, place) in enumerate(zip(series.values(), labels, places, strict=True)):
        colour = _COLOURS[i % len(_COLOURS)]
        path = " ".join(at(*point) for point in line if math.isfinite(point[1]))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        parts.append(f'<text x="{place[0]:.0f}" y="{place[1]}" fill="{colour}" class="key">{html.escape(label)}</text>')
    return "".join(parts) + "</svg>"


def _places(labels: list[str], left: int, width: int) -> list[tuple[float, int]]:
    """Where each label of the key begins: side by side, on a new line where one would not fit."""
    places: list[tuple[float, int]] = []
    x, y = float(left), 14
    for label in labels:
        length = 6.6 * len(label)
        if x > left and x + length > width:
            x, y = float(left), y + 14
        places.append((x, y))
        x += length + 14
    return places


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """About `count` round numbers between `low` and `high`."""
    raw = (high - low) / count
    step = 10 ** math.floor(math.log10(raw))
    step *= next(m for m in (1, 2, 5, 10) if step * m >= raw)
    first = math.ceil(low / step)
    return [round(step * k, 10) for k in range(first, math.floor(high / step) + 1)]


def _short(x: float) -> str:
    return f"{x / 1e6:g}M" if x >= 1e6 else f"{x / 1e3:g}k" if x >= 1e3 else f"{x:g}"
