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
    left, right, top, bottom = 52, 8, 26, 24

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
    key = float(left)
    for i, (name, line) in enumerate(series.items()):
        colour = _COLOURS[i % len(_COLOURS)]
        path = " ".join(at(x, y) for x, y in line if math.isfinite(y))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        label = f"{name} {line[-1][1]:.3g}"
        parts.append(f'<text x="{key:.0f}" y="14" fill="{colour}" class="key">{html.escape(label)}</text>')
        key += 6.6 * len(label) + 14
    return "".join(parts) + "</svg>"


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """About `count` round numbers between `low` and `high`."""
    raw = (high - low) / count
    step = 10 ** math.floor(math.log10(raw))
    step *= next(m for m in (1, 2, 5, 10) if step * m >= raw)
    first = math.ceil(low / step)
    return [round(step * k, 10) for k in range(first, math.floor(high / step) + 1)]


def _short(x: float) -> str:
    return f"{x / 1e6:g}M" if x >= 1e6 else f"{x / 1e3:g}k" if x >= 1e3 else f"{x:g}"
