"""Pieces of surface and the arithmetic on them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
"""Floating-point numbers, mostly float32."""
Indices = npt.NDArray[Any]


class Material(IntEnum):
    """What a triangle is made of."""

    SKIN = 0
    EYE = 1
    MOUTH = 2
    TEETH = 3
    HAIR = 4
    CAP = 5
    CLOTHES = 6


@dataclass(frozen=True)
class Part:
    """A piece of surface. `template` holds the texture position of each vertex, `uv` one pair per triangle corner."""

    vertices: Array  # [V, 3]
    template: Array  # [V, 3]
    triangles: Indices  # [T, 3]
    material: npt.NDArray[np.int32]  # [T]
    uv: Array  # [T, 3, 2]


def join(parts: list[Part]) -> Part:
    """One part out of several, with the vertex indices shifted."""
    offsets = np.cumsum([0] + [len(p.vertices) for p in parts[:-1]])
    return Part(
        vertices=np.concatenate([p.vertices for p in parts]),
        template=np.concatenate([p.template for p in parts]),
        triangles=np.concatenate([p.triangles + int(o) for p, o in zip(parts, offsets, strict=True)]).astype(np.int32),
        material=np.concatenate([p.material for p in parts]),
        uv=np.concatenate([p.uv for p in parts]),
    )


def unit(v: Array) -> Array:
    """Vectors of the last axis at length 1."""
    result: Array = v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-12)
    return result


def vertex_normals(vertices: Array, triangles: Indices) -> Array:
    """Area-weighted unit normals, [V, 3]."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    face = np.cross(b - a, c - a)
    normals = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(normals, triangles[:, k], face)
    return unit(normals)


def grid_part(vertices: Array, rows: int, columns: int, material: Material, template: Array | None = None) -> Part:
    """A part out of a `rows` x `columns` sheet of vertices."""
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    triangles = np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, b, c), (a, c, d))]).astype(np.int32)
    return Part(
        vertices=vertices.astype(np.float32),
        template=(vertices if template is None else template).astype(np.float32),
        triangles=triangles,
        material=np.full(len(triangles), material, np.int32),
        uv=np.zeros((len(triangles), 3, 2), np.float32),
    )


def smoothstep(low: float, high: float, x: Array) -> Array:
    t = np.clip((x - low) / (high - low), 0, 1)
    result: Array = t * t * (3 - 2 * t)
    return result


def sample_mask(mask: Array, uv: Array) -> Array:
    """Bilinear look-up of `mask` [H, W] at `uv` [..., 2], v up."""
    height, width = mask.shape
    x = np.clip(uv[..., 0] * width - 0.5, 0, width - 1.001)
    y = np.clip((1 - uv[..., 1]) * height - 0.5, 0, height - 1.001)
    x0, y0 = x.astype(np.int32), y.astype(np.int32)
    fx, fy = (x - x0).astype(np.float32), (y - y0).astype(np.float32)
    top = mask[y0, x0] * (1 - fx) + mask[y0, x0 + 1] * fx
    bottom = mask[y0 + 1, x0] * (1 - fx) + mask[y0 + 1, x0 + 1] * fx
    result: Array = top * (1 - fy) + bottom * fy
    return result
