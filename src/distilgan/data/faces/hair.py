"""Hair and caps: surfaces pushed out from the scalp, locks that hang from it, a brim.

Hairlines are curves over the azimuth around the skull's axis in template space (see `head`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distilgan.data.faces.identity import Hair
from distilgan.data.faces.mesh import Array, Indices, Material, Part, grid_part, smoothstep, vertex_normals

# Hairline height over the azimuth around the skull's axis (0 = front, pi = nape), in template space.
_AZIMUTHS = np.array([0.0, 0.45, 0.80, 1.05, 1.28, 1.48, 1.70, 2.1, np.pi])
_HAIRLINE = np.array([0.066, 0.062, 0.046, 0.020, -0.005, -0.012, -0.020, -0.062, -0.085])
_CAP_LINE = np.array([0.050, 0.049, 0.047, 0.044, 0.040, 0.036, 0.030, 0.015, 0.000])
_SKULL_AXIS = np.array([0.0, 0.0, -0.075], np.float32)


@dataclass(frozen=True)
class Scalp:
    """A skull to put hair on: which of its triangles are skin, and how much each vertex belongs to an ear."""

    skull: Part
    triangles: Indices
    ears: Array


def azimuth(template: Array) -> Array:
    """Angle around the skull's vertical axis, 0 at the face, positive to the subject's left."""
    offset = template - _SKULL_AXIS
    angle: Array = np.arctan2(offset[:, 0], offset[:, 2])
    return angle


def above_hairline(template: Array, hair: Hair) -> Array:
    """Signed height over the hairline in metres (positive: hair grows here), [V]."""
    theta = azimuth(template)
    line = np.interp(np.abs(theta), _AZIMUTHS, _HAIRLINE)
    front = np.exp(-((theta / 0.55) ** 2))
    parted = 1 - 0.8 * np.exp(-(((template[:, 0] - hair.parting) / 0.02) ** 2))
    temples = np.exp(-(((np.abs(theta) - 0.55) / 0.25) ** 2))
    ragged = 0.0016 * np.sin(37 * theta + 90 * hair.parting) + 0.0012 * np.sin(83 * theta)
    line = line - hair.fringe * front * parted + hair.recession * (temples + 0.5 * front) + ragged
    over: Array = template[:, 1] - line
    return over.astype(np.float32)


def _shell(scalp: Scalp, over: Array, thickness: Array, material: Material) -> Part:
    """The scalp pushed out by `thickness` where `over` > 0 and under the skin elsewhere, so that its edge is hidden."""
    triangles = scalp.skull.triangles[scalp.triangles]
    keep = (over[triangles].max(1) > -0.02) & (scalp.skull.template[triangles][:, :, 1].min(1) > -0.11)
    keep &= (scalp.skull.template[triangles][:, :, 2].max(1) < 0.055) & (scalp.ears[triangles].max(1) < 0.3)
    triangles = triangles[keep]
    normals = vertex_normals(scalp.skull.vertices, scalp.skull.triangles)
    vertices = scalp.skull.vertices + normals * thickness[:, None]
    return Part(
        vertices,
        scalp.skull.template,
        triangles,
        np.full(len(triangles), material, np.int32),
        scalp.skull.uv[scalp.triangles][keep],
    )


def hair_parts(scalp: Scalp, hair: Hair, seed: int) -> list[Part]:
    """Hair or cap of a head, as surfaces of their own; `seed` shapes waves and locks."""
    if hair.style == "bald":
        return []
    template = scalp.skull.template
    over = above_hairline(template, hair)
    theta = azimuth(template)
    rng = np.random.default_rng(seed)
    waves = sum(
        np.sin(template @ rng.normal(0, 1, 3) * f + rng.uniform(0, 6.28)) / k
        for k, f in enumerate((60, 110, 190), start=1)
    )
    lift = hair.thickness * (1 + 0.25 * hair.roughness * waves) * (0.75 + 0.35 * smoothstep(0.02, 0.10, template[:, 1]))
    if hair.style == "cap":
        lift = np.minimum(lift, 0.004)
    rise = smoothstep(-0.004, 0.016 + 0.8 * hair.thickness, over)
    depth = -0.006 + (lift + 0.006) * rise
    parts = [_shell(scalp, over, depth.astype(np.float32), Material.HAIR)]
    if hair.style == "long":
        parts.append(_curtain(scalp, hair, rng))
    if hair.style == "cap":
        line = template[:, 1] - np.interp(np.abs(theta), _AZIMUTHS, _CAP_LINE)
        height = -0.006 + 0.017 * smoothstep(-0.001, 0.006, line.astype(np.float32))
        parts += [_shell(scalp, line.astype(np.float32), height, Material.CAP), _brim(scalp, line)]
    return parts


def _curtain(scalp: Scalp, hair: Hair, rng: np.random.Generator) -> Part:
    """Long hair: a sheet hanging from the temples around the back of the head."""
    side = scalp.skull.vertices[(scalp.skull.template[:, 1] > 0.0) & (scalp.skull.template[:, 1] < 0.04)]
    rx, back, front = float(np.abs(side[:, 0]).max()), float(side[:, 2].min()), 0.5 * float(side[:, 2].max())
    centre_z, rz = 0.5 * (front + back), 0.5 * (front - back)
    columns, rows = 81, 24
    opening = rng.uniform(0.95, 1.2)
    theta = np.linspace(opening, 2 * np.pi - opening, columns)
    phase, sheets = rng.uniform(0, 6.28, 4), []
    for t in np.linspace(0, 1, rows):
        y = 0.075 - t * (0.075 + 0.06 + hair.length)
        tuck = float(np.clip((0.075 - y) / 0.05, 0, 1))  # the roots hide under the shell
        flare = (
            1
            + 0.10 * t
            + 0.05 * hair.roughness * np.sin(5 * theta + phase[0] + 3 * t)
            + 0.03 * hair.roughness * np.sin(11 * theta + phase[1] - 5 * t)
        )
        out = (rx + 0.8 * hair.thickness + 0.004) * flare * (0.72 + 0.28 * np.sqrt(tuck))
        deep = (rz + hair.thickness) * flare * (0.85 + 0.15 * tuck)
        x, z = out * np.sin(theta), centre_z + deep * np.cos(theta)
        sheets.append(np.stack([x, np.full_like(x, y), z], -1))
    return grid_part(np.concatenate(sheets), rows, columns, Material.HAIR)


def _brim(scalp: Scalp, line: npt.NDArray[np.float64]) -> Part:
    """The cap's brim: a curved half disc from the cap's front edge."""
    edge = scalp.skull.vertices[
        (np.abs(line) < 0.012) & (np.abs(scalp.skull.template[:, 0]) < 0.075) & (scalp.skull.template[:, 2] > -0.07)
    ]
    front = edge[np.abs(edge[:, 0]) < 0.03]
    rx, y, z_front = float(np.abs(edge[:, 0]).max()), float(front[:, 1].mean()) + 0.004, float(front[:, 2].max())
    theta = np.linspace(-1.25, 1.25, 33)
    rows = []
    for t in np.linspace(-0.3, 1, 9):
        x = rx * np.sin(theta) * (1 + 0.06 * t)
        z = z_front - 0.075 + (0.083 + 0.065 * t) * np.cos(theta)
        rows.append(np.stack([x, y + 0.004 - 0.018 * t * np.cos(theta) - 2.2 * x**2, z], -1))
    return grid_part(np.concatenate(rows), 9, 33, Material.CAP)
