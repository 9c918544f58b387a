"""The colour of a surface point: skin with its variation, brows, lips, eyes, hair, cloth.

All textures are procedural and live in template space (see `head`), so one identity keeps its freckles in every picture.
Colours are linear RGB, [N, 3].
"""

from __future__ import annotations

import numpy as np

from distilgan.data.faces.hair import above_hairline, azimuth
from distilgan.data.faces.head import Eyes, HeadModel
from distilgan.data.faces.identity import Colour, Identity
from distilgan.data.faces.mesh import Array, sample_mask, smoothstep


def linear(colour: Colour | Array) -> Array:
    """sRGB to linear light."""
    c = np.asarray(colour, np.float32)
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4).astype(np.float32)


def srgb(light: Array) -> Array:
    """Linear light to sRGB."""
    c = np.clip(light, 0, 1)
    return np.where(
        c <= 0.0031308, c * 12.92, 1.055 * np.power(c, 1 / 2.4, where=c > 0, out=np.zeros_like(c)) - 0.055
    ).astype(np.float32)


def waves(points: Array, seed: int, frequency: float, octaves: int = 4) -> Array:
    """Smooth pseudo-noise of unit deviation: sines in random directions, [N]."""
    rng = np.random.default_rng(seed)
    total = np.zeros(len(points), np.float32)
    for octave in range(octaves):
        directions = rng.normal(0, frequency * 1.8**octave, (3, 3)).astype(np.float32)
        phases = rng.uniform(0, 2 * np.pi, 3).astype(np.float32)
        total += (np.sin(points @ directions + phases).sum(1) / 1.5**octave).astype(np.float32)
    result: Array = total / np.sqrt(1.5 * sum(1 / 2.25**o for o in range(octaves)), dtype=np.float32)
    return result


def _blend(base: Array, colour: Array, weight: Array) -> Array:
    result: Array = base + (colour - base) * weight[:, None]
    return result


def _blob(points: Array, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Array:
    offset = (points - np.asarray(centre, np.float32)) / np.asarray(radii, np.float32)
    result: Array = np.exp(-(offset**2).sum(1))
    return result


def _mirrored(points: Array) -> Array:
    """Points folded to the subject's left side, for symmetric features."""
    folded = points.copy()
    folded[:, 0] = np.abs(folded[:, 0])
    return folded


def brow_weight(points: Array, weight: float) -> Array:
    """How much brow covers a template point: a tapering arch over each eye, broken up into hairs."""
    p = _mirrored(points)
    t = np.clip((p[:, 0] - 0.010) / 0.044, 0, 1)
    arch = 0.0185 + 0.0065 * np.sin(np.pi * np.minimum(t * 0.78 + 0.05, 1)) - 0.004 * t
    half = 0.0038 * weight * (1.15 - 0.85 * t**1.5)
    across = (p[:, 1] - arch) / half
    ends = smoothstep(0.006, 0.012, p[:, 0]) * (1 - smoothstep(0.050, 0.057, p[:, 0]))
    hairs = 0.85 + 0.15 * np.sin(p[:, 0] * 4200 + p[:, 1] * 2600)
    cover: Array = np.exp(-(np.abs(across) ** 3)) * ends * hairs * smoothstep(-0.02, 0.0, p[:, 2])
    return cover.astype(np.float32)


def skin_albedo(
    model: HeadModel, identity: Identity, template: Array, uv: Array, positions: Array, eyes: Eyes
) -> Array:
    """Skin with flush, freckles, stubble, scalp, brows, lips and lash lines."""
    skin = identity.skin
    folded = _mirrored(template)
    lips, lids, face = (sample_mask(model.masks[name], uv) for name in ("lips", "eyelids", "face"))
    ears = sample_mask(model.masks["ears"], uv)
    seed = skin.texture_seed

    tone = 1 + 0.045 * waves(template, seed, 45.0)
    albedo = linear(skin.albedo)[None] * tone[:, None]
    red = _blob(folded, (0.038, -0.038, 0.02), (0.020, 0.018, 0.05)) + 0.8 * _blob(
        template, (0, -0.035, 0.05), (0.012, 0.012, 0.03)
    )
    red = red + 0.6 * ears + 0.4 * _blob(template, (0, -0.105, 0.03), (0.016, 0.012, 0.04))
    albedo = albedo * (1 + skin.flush * red[:, None] * np.asarray([0.10, -0.20, -0.20], np.float32))
    sockets = _blob(folded, (0.030, -0.010, 0.0), (0.018, 0.010, 0.06))
    albedo = albedo * (1 - 0.28 * sockets[:, None] * np.asarray([0.8, 1.0, 0.9], np.float32))
    spots = smoothstep(1.2, 1.9, waves(template, seed + 1, 420.0, 2)) * face
    albedo = albedo * (1 - 0.45 * skin.freckles * spots[:, None] * np.asarray([0.6, 0.9, 1.0], np.float32))

    hair = linear(identity.hair.colour)[None]
    jaw = smoothstep(-0.040, -0.066, template[:, 1]) * smoothstep(-0.075, -0.045, template[:, 2])
    cheek = smoothstep(0.030, 0.045, folded[:, 0]) * smoothstep(-0.075, -0.045, template[:, 1])
    throat = smoothstep(-0.125, -0.105, template[:, 1] - 0.3 * np.minimum(template[:, 2], 0))
    beard = np.clip(jaw * (1 - 0.9 * cheek) * throat * (1 - lips), 0, 1) * (
        0.86 + 0.14 * waves(template, seed + 2, 1400.0, 3)
    )
    albedo = _blend(albedo, 0.6 * hair + 0.05 * albedo, np.clip(skin.beard * beard, 0, 0.92))
    if identity.hair.style in ("short", "full", "long", "cap"):
        scalp = smoothstep(-0.006, 0.010, above_hairline(template, identity.hair)) * (ears < 0.3)
        albedo = _blend(albedo, hair, 0.85 * scalp.astype(np.float32))

    albedo = _blend(
        albedo, linear(identity.brows)[None], np.clip(0.95 * brow_weight(template, identity.brow_weight), 0, 1)
    )
    albedo = _blend(
        albedo,
        linear(identity.skin.lips)[None] * (1 + 0.04 * waves(template, seed + 3, 300.0, 2))[:, None],
        np.clip(lips, 0, 1),
    )
    if skin.shadow > 0:
        tint = linear((0.32, 0.22, 0.26))[None]
        albedo = _blend(albedo, tint * 0.8 + albedo * 0.2, skin.shadow * np.clip(lids, 0, 1) * 0.8)
    nearest = np.linalg.norm(positions[:, None] - eyes.centres[None], axis=-1).min(1) - eyes.radius
    above = smoothstep(-0.002, 0.002, template[:, 1])
    lash = (1 - smoothstep(0.0008, 0.0030, nearest)) * (0.35 + 0.65 * above) * (template[:, 2] > -0.03)
    return _blend(albedo, linear((0.10, 0.07, 0.06))[None], 0.9 * lash.astype(np.float32))


def eye_albedo(identity: Identity, positions: Array, eyes: Eyes, gaze: Array) -> Array:
    """Sclera, limbal ring, iris and pupil by the angle from the gaze direction."""
    which = np.linalg.norm(positions[:, None] - eyes.centres[None], axis=-1).argmin(1)
    radial = positions - eyes.centres[which]
    radial = radial / np.maximum(np.linalg.norm(radial, axis=1, keepdims=True), 1e-9)
    angle = np.arccos(np.clip(radial @ gaze, -1, 1)).astype(np.float32)
    side = np.cross(gaze, np.asarray([0, 1, 0], np.float32))
    spin = np.arctan2(radial[:, 1], radial @ side)
    fibres = 1 + 0.22 * np.sin(spin * 23 + 3 * np.sin(spin * 7)) * smoothstep(0.16, 0.30, angle)
    sclera = linear((0.90, 0.87, 0.85))[None] * (1 - 0.25 * smoothstep(0.55, 1.1, angle))[:, None]
    iris = linear(identity.iris)[None] * (fibres * (0.75 + 0.9 * smoothstep(0.44, 0.2, angle)))[:, None]
    albedo = _blend(sclera, iris, 1 - smoothstep(0.44, 0.48, angle))
    albedo = _blend(
        albedo,
        linear((0.06, 0.05, 0.05))[None],
        smoothstep(0.37, 0.42, angle) * (1 - smoothstep(0.44, 0.50, angle)) * 0.7,
    )
    return _blend(albedo, linear((0.015, 0.013, 0.012))[None], 1 - smoothstep(0.15, 0.19, angle))


def hair_albedo(identity: Identity, template: Array) -> tuple[Array, Array]:
    """Hair colour broken into strands that fall from the crown, and the strand phase used for highlights."""
    theta = azimuth(template)
    seed = identity.skin.texture_seed
    fall = np.stack([np.sin(theta) * 0.09, 0.12 * template[:, 1], np.cos(theta) * 0.09], -1).astype(np.float32)
    strands = waves(fall, seed + 4, 260.0, 3)
    return linear(identity.hair.colour)[None] * np.clip(1 + 0.28 * strands, 0.3, 2.0)[:, None], strands
