"""Smooth random numbers along a line and over a plane."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def line(rng: np.random.Generator, length: int, cells: float, octaves: int = 4, fall: float = 0.5) -> Floats:
    """About [-1, 1] at each of `length` places; `cells` waves of the lowest octave."""
    found, scale, total = np.zeros(length), 1.0, 0.0
    x = np.linspace(0, 1, length)
    for octave in range(octaves):
        n = max(2, int(cells * 2**octave) + 2)
        found += scale * _smooth(rng.uniform(-1, 1, n), x * (n - 1.001))
        total, scale = total + scale, scale * fall
    return found / total


def plane(
    rng: np.random.Generator, height: int, width: int, cell: float, octaves: int = 3, fall: float = 0.5
) -> Floats:
    """About [-1, 1] at each pixel [height, width]; `cell` pixels is the lowest octave's wave."""
    found, scale, total = np.zeros((height, width)), 1.0, 0.0
    for _ in range(octaves):
        size = max(cell, 1.5)
        rows, columns = int(height / size) + 3, int(width / size) + 3
        grid = rng.uniform(-1, 1, (rows, columns))
        y, x = np.arange(height) / size, np.arange(width) / size
        across = np.stack([_smooth(row, x) for row in grid])  # [rows, width]
        i = y.astype(int)
        share = _ease(y - i)[:, None]
        found += scale * (across[i] * (1 - share) + across[i + 1] * share)
        total, scale, cell = total + scale, scale * fall, cell / 2
    return found / total


def _smooth(values: Floats, x: Floats) -> Floats:
    i = x.astype(int)
    share = _ease(x - i)
    found: Floats = values[i] * (1 - share) + values[i + 1] * share
    return found


def _ease(t: Floats) -> Floats:
    eased: Floats = t * t * (3 - 2 * t)
    return eased
