"""Photographing a head: perspective camera, key light with shadows, ambient light with occlusion, background.

Each pixel averages `supersample`² jittered rays, so edges are anti-aliased and shadows soft.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distilgan.data.alignment import EYES_AT, MOUTH_AT
from distilgan.data.faces.head import Head, HeadModel
from distilgan.data.faces.identity import Capture, Identity
from distilgan.data.faces.materials import eye_albedo, hair_albedo, linear, skin_albedo, srgb
from distilgan.data.faces.mesh import Array, Material, unit, vertex_normals
from distilgan.data.faces.rays import RayMesh

_CAMERA_DISTANCE = 0.85  # metres from the point between the eyes
_OCCLUSION_RAYS = 32
_OCCLUSION_REACH = 0.10


@dataclass(frozen=True)
class Frame:
    """What the picture shows of the plane through the eyes: its centre and side in metres, x right, y up."""

    x: float
    y: float
    side: float

    @classmethod
    def aligned(cls, points: Array) -> Frame:
        """The frame in which a face lies as `data.alignment` says, of its landmarks in camera space, [5, 3]."""
        scale = _CAMERA_DISTANCE / (_CAMERA_DISTANCE - points[:, 2])
        x, y = points[:, 0] * scale, points[:, 1] * scale
        # Of eyes and mouth, mean (y_k - frame.y) scale_k must be the wanted height, in sides from the centre.
        eyes, mouth = (float(y[:2].mean()), float(scale[:2].mean())), (float(y[3:].mean()), float(scale[3:].mean()))
        up, down = 0.5 - EYES_AT, 0.5 - MOUTH_AT
        centre = (eyes[0] * down - mouth[0] * up) / (eyes[1] * down - mouth[1] * up)
        side = (eyes[0] - centre * eyes[1]) / up
        return cls(float(x[:2].mean()) / eyes[1], centre, side)

    def project(self, points: Array) -> Array:
        """Where points in camera space [..., 3] appear, as shares of the picture's side from its top left, [..., 2]."""
        scale = _CAMERA_DISTANCE / (_CAMERA_DISTANCE - points[..., 2])
        x = (points[..., 0] - self.x) * scale
        y = (points[..., 1] - self.y) * scale
        shares: Array = np.stack([0.5 + x / self.side, 0.5 - y / self.side], -1)
        return shares


PORTRAIT = Frame(0.0, -0.006, 0.245)


def rotation(capture: Capture) -> Array:
    yaw, pitch, roll = np.radians([capture.yaw, -capture.pitch, -capture.roll])
    cy, sy, cx, sx, cz, sz = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    turned: Array = about_z @ about_x @ about_y
    return turned.astype(np.float32)


def _hemisphere(count: int) -> Array:
    """Cosine-weighted directions around +z from a Fibonacci lattice, [count, 3]."""
    i = np.arange(count) + 0.5
    r, phi = np.sqrt(i / count), np.pi * (1 + 5**0.5) * i
    return np.stack([r * np.cos(phi), r * np.sin(phi), np.sqrt(1 - r**2)], -1).astype(np.float32)


def _sky_visibility(mesh: RayMesh, vertices: Array, normals: Array) -> Array:
    """Share of the hemisphere over each vertex that is free, [V]."""
    helper = np.where(
        np.abs(normals[:, :1]) > 0.9, np.asarray([[0, 1, 0]], np.float32), np.asarray([[1, 0, 0]], np.float32)
    )
    tangent = unit(np.cross(normals, helper))
    bitangent = np.cross(normals, tangent)
    local = _hemisphere(_OCCLUSION_RAYS)
    directions = (
        local[None, :, :1] * tangent[:, None]
        + local[None, :, 1:2] * bitangent[:, None]
        + local[None, :, 2:] * normals[:, None]
    )
    origins = np.repeat(vertices + 0.0012 * normals, _OCCLUSION_RAYS, axis=0)
    blocked = mesh.blocked(origins, directions.reshape(-1, 3), _OCCLUSION_REACH)
    free: Array = 1 - blocked.reshape(len(vertices), _OCCLUSION_RAYS).mean(1)
    return free.astype(np.float32)


def _background(capture: Capture, xy: Array) -> Array:
    """Two colours in a soft gradient with a few large out-of-focus lights; `xy` in [-1, 1], linear RGB."""
    rng = np.random.default_rng(capture.background_seed)
    direction = rng.normal(0, 1, 2)
    direction /= np.linalg.norm(direction)
    t = np.clip(0.5 + 0.4 * xy @ direction, 0, 1)[:, None].astype(np.float32)
    colour = linear(capture.background[0]) * (1 - t) + linear(capture.background[1]) * t
    for _ in range(int(rng.integers(0, 5))):
        centre, radius = rng.uniform(-1, 1, 2), rng.uniform(0.25, 0.7)
        blob = np.exp(-(((xy - centre) / radius) ** 2).sum(1))[:, None]
        colour = colour * (1 + rng.uniform(-0.45, 0.6) * blob)
    vignette = 1 - 0.18 * (xy**2).sum(1)[:, None] / 2
    return np.asarray(colour * vignette, np.float32)


def render_face(
    model: HeadModel, identity: Identity, capture: Capture, size: int, seed: int, supersample: int | None = None
) -> npt.NDArray[np.uint8]:
    """One portrait, [size, size, 3] uint8 sRGB. `seed` drives only the jitter of rays."""
    head = model.build(identity, capture)
    return photograph(model, head, identity, capture, size, supersample or rays(size), np.random.default_rng(seed))


def rays(size: int) -> int:
    """Rays a pixel, along each side, that leave no visible noise in a picture of `size` px."""
    return max(4, min(6, round(320 / size)))


def photograph(
    model: HeadModel, head: Head, identity: Identity, capture: Capture, size: int, grid: int, rng: np.random.Generator,
    frame: Frame = PORTRAIT,
) -> npt.NDArray[np.uint8]:  # fmt: skip
    """Cast `grid`² rays a pixel at a built head and shade what they hit."""
    part, turned = head.part, rotation(capture)
    vertices = part.vertices @ turned.T
    normals = vertex_normals(vertices, part.triangles)
    mesh = RayMesh(vertices, part.triangles)

    n = size * grid
    jitter = rng.uniform(0, 1, (2, n, n)).astype(np.float32)
    columns, rows = np.meshgrid(np.arange(n), np.arange(n))
    x = ((columns + jitter[0]) / n * 2 - 1).ravel()
    y = (1 - (rows + jitter[1]) / n * 2).ravel()
    camera = np.array([frame.x, frame.y, _CAMERA_DISTANCE], np.float32)
    directions = unit(np.stack([x * frame.side / 2, y * frame.side / 2, np.full_like(x, -_CAMERA_DISTANCE)], -1))
    face, hit = mesh.nearest(np.broadcast_to(camera, directions.shape), directions)

    picture = _background(capture, np.stack([x, y], -1))
    seen = np.flatnonzero(face >= 0)
    corners = part.triangles[face[seen]]
    weights = np.stack([hit[seen, 0], hit[seen, 1], 1 - hit[seen, 0] - hit[seen, 1]], -1)

    def interpolate(values: Array) -> Array:
        result: Array = (values[corners] * (weights[..., None] if values.ndim == 2 else weights)).sum(1)
        return result

    point, normal = interpolate(vertices), unit(interpolate(normals))
    view = -directions[seen]
    normal = np.where((normal * view).sum(1, keepdims=True) < 0, -normal, normal)
    material = part.material[face[seen]]
    template = interpolate(part.template)
    uv = (part.uv[face[seen]] * weights[..., None]).sum(1)
    near = np.unique(corners)
    free = np.ones(len(vertices), np.float32)
    free[near] = _sky_visibility(mesh, vertices[near], normals[near])
    free = interpolate(free)

    towards = np.asarray(capture.light, np.float32)
    spread = unit(towards + rng.normal(0, 0.06, point.shape).astype(np.float32))
    lit = 1 - mesh.blocked(point + 0.0015 * normal, spread)
    albedo, gloss, sharpness, wrap = _surface(model, head, identity, capture, material, template, uv, point @ turned)

    cosine = normal @ towards
    diffuse = np.clip((cosine[:, None] + wrap) / (1 + wrap), 0, 1) * (lit[:, None] * (1 - 0.3 * wrap) + 0.3 * wrap)
    half = unit(towards + view)
    fresnel = 0.04 + 0.96 * (1 - np.clip((half * view).sum(1), 0, 1)) ** 5
    highlight = gloss * fresnel * 22 * np.clip((normal * half).sum(1), 0, 1) ** sharpness * lit * (cosine > 0)
    key = linear(capture.light_colour) * capture.light_strength * 1.25
    sky = linear(capture.ambient_colour) * capture.ambient_strength * (0.75 + 0.25 * normal[:, 1:2])
    warm = np.power(
        np.clip(free, 0.02, 1)[:, None], np.asarray([0.75, 1.0, 1.05], np.float32)
    )  # light bounced in skin folds is reddish
    picture[seen] = albedo * (key * diffuse + sky * warm) + highlight[:, None] * key
    averaged = picture.reshape(size, grid, size, grid, 3).mean((1, 3))
    exposed = averaged * (1 + averaged / 6) / (1 + averaged)  # soft shoulder, white at about 2.2
    return np.round(srgb(1.5 * exposed) * 255).astype(np.uint8)


def _surface(
    model: HeadModel, head: Head, identity: Identity, capture: Capture,
    material: npt.NDArray[np.int32], template: Array, uv: Array, upright: Array,
) -> tuple[Array, Array, Array, Array]:  # fmt: skip
    """Albedo [N, 3], gloss [N], highlight exponent [N] and light wrap [N, 3] of every seen point."""
    n = len(material)
    albedo, gloss = np.zeros((n, 3), np.float32), np.zeros(n, np.float32)
    sharpness, wrap = np.full(n, 20, np.float32), np.zeros((n, 3), np.float32)

    def where(kind: Material) -> npt.NDArray[np.intp]:
        return np.flatnonzero(material == kind)

    i = where(Material.SKIN)
    albedo[i] = skin_albedo(model, identity, template[i], uv[i], upright[i], head.eyes)
    gloss[i], sharpness[i], wrap[i] = identity.skin.shine * 0.35, 18, np.asarray([0.30, 0.14, 0.10], np.float32)
    i = where(Material.EYE)
    yaw, pitch = np.radians(np.asarray(capture.gaze) - np.asarray([capture.yaw, capture.pitch]) * 0.8)
    gaze = np.asarray([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)], np.float32)
    albedo[i], gloss[i], sharpness[i] = eye_albedo(identity, upright[i], head.eyes, gaze), 3.0, 250
    i = where(Material.MOUTH)
    albedo[i] = linear((0.30, 0.10, 0.10))
    i = where(Material.TEETH)
    albedo[i], gloss[i], sharpness[i] = linear((0.88, 0.85, 0.79)), 0.5, 60
    i = where(Material.HAIR)
    albedo[i], strands = hair_albedo(identity, template[i])
    gloss[i], sharpness[i] = np.clip(0.10 + 0.08 * strands, 0, 1), 9
    i = where(Material.CAP)
    albedo[i], wrap[i] = linear(identity.hair.cap_colour), 0.05
    i = where(Material.CLOTHES)
    albedo[i], wrap[i] = linear(identity.clothes), 0.05
    return albedo, gloss, sharpness, wrap
