"""Drawn landscapes: flat areas in two or three tones, a high sky, clean edges.

Painter's algorithm from the sky to what stands nearest, every shape a mask, every mask a few flat colours; at twice the size,
then halved, which smooths the edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from distilgan.data.scenes.noise import Floats, line, plane

Colour = tuple[float, float, float]
Mask = npt.NDArray[np.bool_]
Light = Literal["any", "day"]
_OVER = 2  # times the size


@dataclass(frozen=True)
class Palette:
    """Colours 0 to 1 of a time of day."""

    zenith: Colour
    middle: Colour
    horizon: Colour
    cloud: Colour
    cloud_shade: Colour
    haze: Colour
    rock: Colour
    leaf: Colour
    grass: Colour
    water: Colour
    shade: Colour  # what shadows are mixed with
    light: Colour  # and lit edges


PALETTES = (
    Palette((0.06, 0.28, 0.70), (0.22, 0.58, 0.93), (0.76, 0.92, 0.99), (1.0, 1.0, 1.0), (0.66, 0.77, 0.95),
            (0.58, 0.76, 0.95), (0.36, 0.44, 0.62), (0.10, 0.46, 0.27), (0.36, 0.70, 0.22), (0.10, 0.45, 0.72),
            (0.07, 0.12, 0.42), (1.0, 0.97, 0.78)),
    Palette((0.16, 0.22, 0.58), (0.85, 0.47, 0.52), (1.0, 0.82, 0.48), (1.0, 0.86, 0.72), (0.78, 0.46, 0.60),
            (0.93, 0.62, 0.55), (0.42, 0.31, 0.50), (0.24, 0.33, 0.28), (0.56, 0.52, 0.22), (0.45, 0.38, 0.62),
            (0.22, 0.09, 0.36), (1.0, 0.84, 0.50)),
    Palette((0.04, 0.06, 0.28), (0.22, 0.22, 0.58), (0.80, 0.52, 0.72), (0.62, 0.55, 0.85), (0.30, 0.29, 0.62),
            (0.42, 0.37, 0.68), (0.20, 0.20, 0.44), (0.08, 0.20, 0.30), (0.14, 0.32, 0.36), (0.14, 0.18, 0.50),
            (0.03, 0.02, 0.20), (1.0, 0.72, 0.70)),
    Palette((0.30, 0.62, 0.86), (0.60, 0.84, 0.93), (0.95, 0.98, 0.90), (1.0, 1.0, 0.98), (0.74, 0.84, 0.90),
            (0.74, 0.88, 0.90), (0.46, 0.52, 0.56), (0.24, 0.58, 0.26), (0.56, 0.80, 0.28), (0.24, 0.62, 0.74),
            (0.08, 0.26, 0.40), (1.0, 1.0, 0.86)),
    Palette((0.10, 0.36, 0.66), (0.42, 0.68, 0.88), (0.95, 0.90, 0.76), (1.0, 0.98, 0.94), (0.80, 0.76, 0.86),
            (0.78, 0.78, 0.84), (0.48, 0.40, 0.48), (0.76, 0.36, 0.14), (0.84, 0.66, 0.26), (0.22, 0.46, 0.66),
            (0.28, 0.10, 0.26), (1.0, 0.92, 0.60)),
)  # fmt: skip

# How often each is taken: bright day, evening, night, pale day, autumn day.
_CHANCES: dict[Light, tuple[float, ...]] = {"any": (0.4, 0.15, 0.1, 0.2, 0.15), "day": (0.5, 0.0, 0.0, 0.3, 0.2)}


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    a, b = np.asarray(first), np.asarray(second)
    red, green, blue = (a + (b - a) * share).tolist()
    return red, green, blue


class _Canvas:
    def __init__(self, rng: np.random.Generator, height: int, width: int, palette: Palette) -> None:
        self.rng, self.height, self.width, self.palette = rng, height, width, palette
        self.pixels: Floats = np.zeros((height, width, 3))
        self.rows: Floats = np.arange(height, dtype=np.float64)[:, None]
        self.columns: Floats = np.arange(width, dtype=np.float64)[None]

    def fill(self, mask: Mask, colour: Colour, share: float = 1.0) -> None:
        self.pixels[mask] += (np.asarray(colour) - self.pixels[mask]) * share

    def toned(self, mask: Mask, colour: Colour, light: Floats, dark: float = 0.45, bright: float = 0.30) -> None:
        """Three flat tones by `light`: shadow below -0.15, lit edge above 0.35."""
        p = self.palette
        self.fill(mask, colour)
        self.fill(mask & (light < -0.15), mixed(colour, p.shade, dark))
        self.fill(mask & (light > 0.35), mixed(colour, p.light, bright))

    def polygon(self, points: Sequence[tuple[float, float]]) -> Mask:
        image = Image.new("1", (self.width, self.height))
        ImageDraw.Draw(image).polygon(list(points), fill=1)
        return np.asarray(image)

    def strokes(self, segments: Sequence[tuple[float, float, float, float]], width: int) -> Mask:
        image = Image.new("1", (self.width, self.height))
        draw = ImageDraw.Draw(image)
        for segment in segments:
            draw.line(segment, fill=1, width=width)
        return np.asarray(image)

    def disc(self, x: float, y: float, radius: float, flat: float = 1.0) -> Mask:
        return (self.columns - x) ** 2 + ((self.rows - y) / flat) ** 2 < radius**2


def draw_scene(rng: np.random.Generator, height: int, width: int, light: Light = "any") -> npt.NDArray[np.uint8]:
    """A landscape, uint8 [height, width, 3]; `light`: at any time, or by day alone."""
    palette = PALETTES[int(rng.choice(len(PALETTES), p=_CHANCES[light]))]
    c = _Canvas(rng, height * _OVER, width * _OVER, palette)
    kind = rng.choice(("hills", "lake", "forest", "flowers", "sky", "village"), p=(0.2, 0.2, 0.15, 0.2, 0.1, 0.15))
    if kind == "flowers":
        _flowers(c)
    else:
        horizon = int(c.height * (rng.uniform(0.78, 0.92) if kind == "sky" else rng.uniform(0.36, 0.62)))
        sun = _sky(c, horizon)
        _clouds(c, horizon)
        _mountains(c, horizon, int(rng.integers(1, 4)))
        if kind == "lake":
            _water(c, horizon)
            if rng.uniform() < 0.6:
                _shore(c)
        else:
            _meadow(c, horizon)
        if kind == "forest":
            _trees(c, horizon, int(rng.integers(8, 16)))
        elif kind == "village":
            _houses(c, horizon, int(rng.integers(2, 6)))
            _wires(c)
        elif kind != "lake" and rng.uniform() < 0.6:
            _trees(c, horizon, int(rng.integers(1, 5)))
        _glow(c, sun)
    small = c.pixels.reshape(height, _OVER, width, _OVER, 3).mean((1, 3))
    drawn: npt.NDArray[np.uint8] = (np.clip(small, 0, 1) * 255 + 0.5).astype(np.uint8)
    return drawn


def _sky(c: _Canvas, horizon: int) -> tuple[float, float]:
    """Three colours from zenith to horizon; returns the sun's place."""
    p, t = c.palette, np.clip(c.rows / max(horizon, 1), 0, 1)[..., None]
    t = np.broadcast_to(t, c.pixels.shape)
    upper = np.asarray(p.zenith) + (np.asarray(p.middle) - p.zenith) * np.clip(t * 2, 0, 1)
    c.pixels = upper + (np.asarray(p.horizon) - upper) * np.clip(t * 2 - 1, 0, 1) ** 1.2
    if p is PALETTES[2]:  # stars
        stars = c.rng.uniform(size=(c.height, c.width)) > 0.9992
        c.fill(stars & (c.rows < horizon * 0.7), (1.0, 1.0, 0.95))
    return c.rng.uniform(0.1, 0.9) * c.width, c.rng.uniform(0.2, 0.9) * horizon


def _clouds(c: _Canvas, horizon: int) -> None:
    """Heaps of discs on flat bases: white above, in shadow below, and long flat streaks."""
    p, rng = c.palette, c.rng
    for _ in range(int(rng.integers(0, 4))):
        y, length = rng.uniform(0.1, 0.8) * horizon, rng.uniform(0.3, 0.9) * c.width
        x, thick = rng.uniform(-0.2, 0.9) * c.width, rng.uniform(0.006, 0.02) * c.height
        wave = line(rng, c.width, 6) * thick
        streak = np.abs(c.rows - y - wave[None]) < thick * np.clip(
            1 - ((c.columns - x - length / 2) / (length / 2)) ** 2, 0, 1
        )
        c.fill(streak, p.cloud, 0.7)
    for _ in range(int(rng.integers(1, 5))):
        size = rng.uniform(0.06, 0.22) * c.width
        x, base = rng.uniform(0, 1) * c.width, rng.uniform(0.25, 1.0) * horizon
        density = np.full((c.height, c.width), -1.0)
        for _ in range(int(rng.integers(8, 18))):
            away = rng.normal(0, 0.9)
            radius = size * rng.uniform(0.25, 0.55) * np.exp(-(away**2) / 2.5)
            cx, cy = x + away * size, base - rng.uniform(0.1, 1.1) * size * np.exp(-(away**2))
            density = np.maximum(density, 1 - ((c.columns - cx) ** 2 + (c.rows - cy) ** 2) / radius**2)
        density += 0.25 * plane(rng, c.height, c.width, size * 0.3)
        mask = (density > 0) & (c.rows < base + 0.08 * size)
        height = (base - c.rows) / (1.3 * size) + 0.35 * plane(rng, c.height, c.width, size * 0.45)
        c.fill(mask, mixed(p.cloud_shade, p.middle, 0.25))
        c.fill(mask & (height > 0.12), mixed(p.cloud_shade, p.cloud, 0.35))
        c.fill(mask & (height > 0.3), p.cloud)


def _mountains(c: _Canvas, horizon: int, layers: int) -> None:
    """Ridges that come nearer: paler far away, cut into lit and shaded faces."""
    p, rng = c.palette, c.rng
    for i in range(layers):
        near = (i + 1) / layers
        tall = c.height * rng.uniform(0.12, 0.38) * (1.15 - 0.6 * near)
        ridge = horizon - tall * (0.55 + 0.6 * line(rng, c.width, rng.uniform(1.5, 4), 5))
        mask = (c.rows > ridge[None]) & (c.rows <= horizon + 2)
        colour = mixed(p.haze, p.rock if rng.uniform() < 0.6 else p.leaf, 0.25 + 0.6 * near)
        wander = plane(rng, c.height, c.width, tall * 0.5, 3)
        # A face runs down at a slant from the ridge that it hangs on.
        slope = np.gradient(np.convolve(np.pad(ridge, 8, mode="edge"), np.ones(17) / 17, "valid"))
        down = c.rows - ridge[None]
        above = np.clip(c.columns + down * (0.9 + 0.8 * wander), 0, c.width - 1).astype(int)
        faces = 0.55 * np.tanh(6 * slope[above]) + 0.45 * wander
        c.toned(mask, colour, faces, 0.35 * near + 0.1, 0.3)
        if i == 0 and rng.uniform() < 0.35:
            snow = mask & (c.rows < ridge[None] + tall * (0.16 + 0.14 * wander))
            c.toned(snow, mixed(p.cloud, p.haze, 0.1), faces, 0.25, 0.2)


def _water(c: _Canvas, horizon: int) -> None:
    """What is above, mirrored, under bands of light that widen as they come nearer."""
    p, rng = c.palette, c.rng
    below = np.arange(horizon, c.height)
    source = np.clip(2 * horizon - below - 1, 0, c.height - 1)
    shift = (line(rng, len(below), 30, 2) * np.linspace(0, 0.02, len(below)) * c.width).astype(int)
    for row, mirror, by in zip(below, source, shift, strict=True):
        c.pixels[row] = np.roll(c.pixels[mirror], by, axis=0)
    mask = np.broadcast_to(c.rows >= horizon, (c.height, c.width))
    c.fill(mask, p.water, 0.45)
    depth = np.clip((c.rows - horizon) / max(c.height - horizon, 1), 0, 1)
    bands = np.sin(np.log1p(depth * 30) * 14 + 2.5 * plane(rng, c.height, c.width, c.width * 0.12))
    ripples = plane(rng, c.height, c.width, c.width * 0.05, 2)
    c.fill(mask & (bands > 0.55) & (ripples > 0.1), mixed(p.water, p.horizon, 0.75), 0.8)
    c.fill(mask & (bands < -0.6) & (ripples < -0.1), mixed(p.water, p.shade, 0.5), 0.6)


def _shore(c: _Canvas) -> None:
    p, rng = c.palette, c.rng
    edge = c.height * (rng.uniform(0.82, 0.95) + 0.06 * line(rng, c.width, 3))
    mask = c.rows > edge[None]
    c.toned(mask, mixed(p.grass, p.rock, rng.uniform(0, 0.8)), plane(rng, c.height, c.width, 24) * 1.3)
    _blades(c, mask, edge)


def _meadow(c: _Canvas, horizon: int) -> None:
    """Rolling ground in flat tones, with blades in front and sometimes a path."""
    p, rng = c.palette, c.rng
    layers = int(rng.integers(2, 4))
    for i in range(layers):
        near = i / max(layers - 1, 1)
        top = horizon + (c.height - horizon) * near * 0.6
        edge = top + 0.05 * c.height * line(rng, c.width, 2 + 2 * near)
        mask = c.rows > edge[None]
        colour = mixed(mixed(p.grass, p.haze, 0.35), p.grass, near)
        c.toned(
            mask,
            mixed(colour, p.light, rng.uniform(0, 0.15)),
            plane(rng, c.height, c.width, c.width * 0.16, 2) * 1.2,
            0.3,
            0.3,
        )
    if rng.uniform() < 0.4:
        x, drift = rng.uniform(0.3, 0.7) * c.width, rng.uniform(-0.5, 0.5) * c.width
        t = np.clip((c.rows - horizon) / max(c.height - horizon, 1), 0, 1)
        path = np.abs(c.columns - x - drift * t**2) < (0.01 + 0.16 * t**1.5) * c.width
        c.toned(path & (c.rows > horizon), mixed(p.rock, p.horizon, 0.6), plane(rng, c.height, c.width, 40), 0.2, 0.2)
    edge = np.full(c.width, c.height * 0.8)
    _blades(c, c.rows > edge[None], edge)


def _blades(c: _Canvas, mask: Mask, edge: Floats) -> None:
    p, rng = c.palette, c.rng
    for share, tone in ((0.5, mixed(p.grass, p.shade, 0.45)), (0.5, mixed(p.grass, p.light, 0.45))):
        segments = []
        for _ in range(int(c.width * share)):
            x = rng.uniform(0, c.width)
            y = rng.uniform(edge[min(int(x), c.width - 1)], c.height)
            long = 0.05 * c.height * rng.uniform(0.3, 1.0)
            segments.append((x, y, x + rng.normal(0, 0.35) * long, y - long))
        c.fill(c.strokes(segments, 2) & mask, tone)
    if rng.uniform() < 0.4:
        colour = ((1.0, 0.9, 0.95), (1.0, 0.86, 0.2), (0.95, 0.35, 0.45), (0.6, 0.45, 0.95))[int(rng.integers(4))]
        for _ in range(int(rng.integers(20, 70))):
            x = rng.uniform(0, c.width)
            y = rng.uniform(edge[min(int(x), c.width - 1)], c.height)
            c.fill(c.disc(x, y, rng.uniform(2, 5), 0.7), colour)


def _trees(c: _Canvas, horizon: int, count: int) -> None:
    """Trunks under heaps of leaves in three tones, the far ones first."""
    rng = c.rng
    places = sorted(rng.uniform(0.05, 1.0, count))
    for near in places:
        _tree(c, rng.uniform(0, 1) * c.width, horizon + near * (c.height - horizon) * 0.85, near)


def _tree(c: _Canvas, x: float, foot: float, near: float) -> None:
    p, rng = c.palette, c.rng
    tall = c.height * (0.08 + 0.5 * near) * rng.uniform(0.8, 1.2)
    leaf = mixed(p.haze, p.leaf, 0.55 + 0.45 * near)
    if rng.uniform() < 0.3:  # a conifer, storey by storey
        for storey in range(5):
            top = foot - tall * (0.35 + 0.13 * (storey + 1.2))
            half = tall * (0.24 - 0.04 * storey)
            mask = c.polygon([(x, top), (x - half, top + tall * 0.26), (x + half, top + tall * 0.26)])
            c.toned(mask, leaf, (c.columns - x) / half * 0.6 + plane(rng, c.height, c.width, tall * 0.08, 2))
        trunk_top = foot - tall * 0.3
    else:
        density = np.full((c.height, c.width), -1.0)
        for _ in range(int(rng.integers(7, 13))):
            cx = x + rng.normal(0, 0.19) * tall
            cy = foot - tall * rng.uniform(0.5, 1.0)
            radius = tall * rng.uniform(0.10, 0.2)
            density = np.maximum(density, 1 - ((c.columns - cx) ** 2 + (c.rows - cy) ** 2) / radius**2)
        clumps = plane(rng, c.height, c.width, max(tall * 0.07, 3), 2)
        mask = density + 0.5 * clumps > 0
        light = (foot - tall * 0.72 - c.rows) / tall * 1.4 - (c.columns - x) / tall * 0.8 + clumps * 0.8
        c.toned(mask, leaf, light, 0.5, 0.42)
        trunk_top = foot - tall * 0.6
    half = max(1.5, tall * 0.022)
    trunk = c.polygon(
        [(x - half * 1.6, foot), (x + half * 1.6, foot), (x + half * 0.7, trunk_top), (x - half * 0.7, trunk_top)]
    )
    c.toned(trunk & (c.rows > foot - tall * 0.52), mixed(p.rock, p.shade, 0.3), (x - c.columns) / half * 0.6)


def _houses(c: _Canvas, horizon: int, count: int) -> None:
    """Walls with windows under pitched roofs, lit from one side."""
    p, rng = c.palette, c.rng
    for near in sorted(rng.uniform(0.1, 0.8, count)):
        x, foot = rng.uniform(-0.1, 0.9) * c.width, horizon + near * (c.height - horizon) * 0.7
        wide, tall = c.width * (0.07 + 0.22 * near), c.height * (0.06 + 0.2 * near)
        wall = mixed(p.horizon, ((0.95, 0.93, 0.88), (0.85, 0.68, 0.52), (0.72, 0.80, 0.86))[int(rng.integers(3))], 0.8)
        roof = ((0.72, 0.24, 0.20), (0.20, 0.30, 0.48), (0.42, 0.28, 0.24))[int(rng.integers(3))]
        side = wide * 0.35
        c.fill(c.polygon([(x, foot), (x + wide, foot), (x + wide, foot - tall), (x, foot - tall)]), wall)
        shaded = [
            (x + wide, foot),
            (x + wide + side, foot - tall * 0.06),
            (x + wide + side, foot - tall),
            (x + wide, foot - tall),
        ]
        c.fill(c.polygon(shaded), mixed(wall, p.shade, 0.4))
        ridge = foot - tall * 1.55
        c.fill(
            c.polygon(
                [
                    (x - wide * 0.06, foot - tall * 0.97),
                    (x + wide, foot - tall * 0.97),
                    (x + wide + side / 2, ridge),
                    (x + side * 0.4, ridge),
                ]
            ),
            roof,
        )
        c.fill(
            c.polygon(
                [
                    (x + wide, foot - tall * 0.97),
                    (x + wide + side * 1.1, foot - tall * 0.97),
                    (x + wide + side / 2, ridge),
                ]
            ),
            mixed(wall, p.shade, 0.3),
        )
        for i in range(int(rng.integers(2, 5))):
            left = x + wide * (0.1 + 0.24 * i)
            if left + wide * 0.14 > x + wide:
                break
            pane = [
                (left, foot - tall * 0.35),
                (left + wide * 0.14, foot - tall * 0.35),
                (left + wide * 0.14, foot - tall * 0.75),
                (left, foot - tall * 0.75),
            ]
            c.fill(c.polygon(pane), mixed(p.zenith, p.light, 0.85 if rng.uniform() < 0.3 else 0.15))


def _wires(c: _Canvas) -> None:
    p, rng = c.palette, c.rng
    dark = mixed(p.shade, p.rock, 0.3)
    pole, top = rng.uniform(0.1, 0.9) * c.width, c.height * rng.uniform(0.05, 0.25)
    c.fill(c.strokes([(pole, c.height, pole, top), (pole - 24, top + 18, pole + 24, top + 18)], 5), dark)
    x = np.linspace(0, c.width, 40)
    for i in range(int(rng.integers(1, 4))):
        sag = (
            top + 14 + 10 * i + 0.00025 * (x - pole) ** 2 * rng.uniform(-0.4, 1) + (x - pole) * rng.uniform(-0.06, 0.06)
        )
        c.fill(c.strokes([(x[j], sag[j], x[j + 1], sag[j + 1]) for j in range(39)], 2), dark)


def _flowers(c: _Canvas) -> None:
    """A few large flowers and leaves before soft discs of colour."""
    p, rng = c.palette, c.rng
    t = (c.rows / c.height)[..., None]
    back = mixed(p.leaf, p.haze, rng.uniform(0.2, 0.8)), mixed(p.grass, p.shade, rng.uniform(0.1, 0.6))
    c.pixels = np.broadcast_to(np.asarray(back[0]) + (np.asarray(back[1]) - back[0]) * t, c.pixels.shape).copy()
    for _ in range(int(rng.integers(6, 20))):
        disc = c.disc(rng.uniform(0, c.width), rng.uniform(0, c.height), rng.uniform(0.04, 0.14) * c.width)
        c.fill(disc, mixed(p.light, p.grass, rng.uniform(0, 1)), 0.35)
    for _ in range(int(rng.integers(3, 9))):
        _leaf(c)
    hue = (
        (0.97, 0.45, 0.55),
        (1.0, 0.80, 0.15),
        (0.98, 0.98, 1.0),
        (0.66, 0.42, 0.90),
        (0.95, 0.30, 0.18),
        (0.40, 0.60, 1.0),
    )
    colour = hue[int(rng.integers(len(hue)))]
    for _ in range(int(rng.integers(1, 6))):
        x, y, radius = rng.uniform(0, 1) * c.width, rng.uniform(0.1, 0.9) * c.height, rng.uniform(0.07, 0.26) * c.height
        stem = [(x, y, x + rng.normal(0, 0.2) * radius, c.height)]
        c.fill(c.strokes(stem, max(2, int(radius * 0.08))), mixed(p.leaf, p.shade, 0.2))
        petals, turn = int(rng.integers(5, 14)), rng.uniform(0, 6.28)
        for i in range(petals):
            _petal(c, x, y, radius, turn + 6.2832 * i / petals, 2.4 / petals, colour)
        heart = c.disc(x, y, radius * 0.24)
        c.toned(
            heart,
            (0.95, 0.70, 0.15) if colour[0] < 0.99 else (0.55, 0.30, 0.12),
            (y - c.rows) / radius * 4 + 0.0 * c.columns,
        )


def _petal(c: _Canvas, x: float, y: float, radius: float, angle: float, half: float, colour: Colour) -> None:
    tips = [(1.0, 0.0), (0.82, 0.8), (0.3, 0.75), (0.0, 0.0), (0.3, -0.75), (0.82, -0.8)]
    points = [
        (x + radius * r * np.cos(angle + half * side), y + radius * r * np.sin(angle + half * side) * 0.92)
        for r, side in tips
    ]
    mask = c.polygon(points)
    along = ((c.columns - x) * np.cos(angle) + (c.rows - y) * np.sin(angle)) / radius
    across = (-(c.columns - x) * np.sin(angle) + (c.rows - y) * np.cos(angle)) / radius
    light = np.where(along < 0.42, -0.3, 0.0) + np.where(across > 0.05, -0.2, 0.2) + np.where(along > 0.7, 0.2, 0.0)
    c.toned(mask, colour, light, 0.3, 0.45)


def _leaf(c: _Canvas) -> None:
    p, rng = c.palette, c.rng
    x, y, long = rng.uniform(0, 1) * c.width, rng.uniform(0.2, 1) * c.height, rng.uniform(0.2, 0.6) * c.height
    angle, slim = rng.uniform(0, 6.28), rng.uniform(0.12, 0.3)
    t = np.linspace(0, 1, 12)
    bow = np.sin(np.pi * t**0.8) * slim
    sides = [*zip(t, bow, strict=True), *zip(t[::-1], -bow[::-1], strict=True)]
    points = [
        (x + long * (a * np.cos(angle) - b * np.sin(angle)), y + long * (a * np.sin(angle) + b * np.cos(angle)))
        for a, b in sides
    ]
    across = (-(c.columns - x) * np.sin(angle) + (c.rows - y) * np.cos(angle)) / long
    along = ((c.columns - x) * np.cos(angle) + (c.rows - y) * np.sin(angle)) / long
    light = np.where(across > 0, -0.3, 0.25) + 0.3 * (np.abs(np.mod(along * 8 + np.abs(across) * 6, 1) - 0.5) < 0.08)
    c.toned(c.polygon(points), mixed(p.leaf, p.grass, rng.uniform(0, 1)), light, 0.35, 0.25)


def _glow(c: _Canvas, sun: tuple[float, float]) -> None:
    """Light around the sun, over everything."""
    distance = np.hypot(c.columns - sun[0], c.rows - sun[1]) / c.width
    halo = 0.55 * np.exp(-((distance / 0.16) ** 2)) + 0.18 * np.exp(-distance / 0.3)
    c.pixels += (np.asarray(c.palette.light) - c.pixels) * halo[..., None] * c.rng.uniform(0.2, 1)
