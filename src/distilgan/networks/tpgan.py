"""TP-GAN: a face seen from the side, and where its eyes, nose and mouth are, to the same face seen from the front.

Source: Huang et al., "Beyond Face Rotation: Global and Local Perception GAN for Photorealistic and Identity Preserving Frontal
View Synthesis", ICCV 2017. The layers are in `tpgan_pathways`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distilgan.networks.conditional import check_positive
from distilgan.networks.tpgan_pathways import GlobalPathway, LocalPathway
from distilgan.networks.translator import Translator

PATCHES: dict[str, tuple[int, int]] = {
    "left_eye": (40, 40), "right_eye": (40, 40), "nose": (40, 32), "mouth": (48, 32),
}  # fmt: skip
"""Width and height of each local pathway's patch, pixels of a picture of 128. Left and right as in the picture."""

TEMPLATE = ((43.0, 40.0), (85.0, 40.0), (64.0, 70.0), (46.0, 88.0), (82.0, 88.0))
"""Eyes, nose tip and mouth corners of an aligned frontal face, pixels of a picture of 128; means over rendered faces."""

_ABOVE_TIP = 5.0
"""Pixels of a picture of 128 by which the nose's patch lies above its tip, as in the paper's code."""

DROPOUT = 0.3  # in front of the identity head


@dataclass(frozen=True)
class TPGANConfig:
    """Everything that fixes the architecture.

    Args:
        resolution: a power of two, at least 32. encoder, start, decoder, last: widths of the global pathway (see there).
        local_encoder, local_decoder: widths of each local pathway. fused: width of the features that they hand over.
        code: length of the bottleneck. z_dim: length of the noise; 0: none.
        identities: outputs of the identity head; 0: none.
    """

    resolution: int
    encoder: list[int]
    start: list[int]
    decoder: list[int]
    last: list[int]
    local_encoder: list[int]
    local_decoder: list[int]
    fused: int = 64
    code: int = 256
    z_dim: int = 64
    identities: int = 0

    def __post_init__(self) -> None:
        if self.resolution < 32 or self.resolution & (self.resolution - 1):
            raise ValueError(f"resolution={self.resolution}: must be a power of two, at least 32")
        lengths = {"encoder": 5, "start": 4, "decoder": 4, "last": 2, "local_encoder": 4, "local_decoder": 2}
        for name, length in lengths.items():
            widths = getattr(self, name)
            if len(widths) != length or min(widths) < 1:
                raise ValueError(f"{name}={widths}: expected {length} widths of at least 1")
        check_positive(self, "fused", "code")
        for name in ("z_dim", "identities"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)}: must not be negative")


def tpgan_config(
    resolution: int = 128, width: float = 1.0, local_width: float = 1.0, *,
    fused: int = 64, code: int = 256, z_dim: int = 64, identities: int = 347,
) -> TPGANConfig:  # fmt: skip
    """The published widths times `width` in the global pathway and `local_width` in the local ones, rounded down to at least 1.

    (1, 1) is the teacher with 138,078,575 parameters, (1, 0.25) the student of 91,832,687 of the MetaKD report.
    """

    widest = TPGANConfig(
        resolution,
        encoder=[64, 64, 128, 256, 512],
        start=[64, 32, 16, 8],
        decoder=[512, 256, 128, 64],
        last=[64, 32],
        local_encoder=[64, 128, 256, 512],
        local_decoder=[256, 128],
        fused=fused,
        code=code,
        z_dim=z_dim,
        identities=identities,
    )
    return narrowed(widest, width, local_width)


def narrowed(config: TPGANConfig, width: float, local_width: float) -> TPGANConfig:
    """The widths of the global pathway times `width`, of the local ones times `local_width`, rounded down to at least 1."""

    def scaled(widths: list[int], factor: float) -> list[int]:
        return [max(1, int(w * factor)) for w in widths]

    c = config
    return replace(
        c,
        encoder=scaled(c.encoder, width),
        start=scaled(c.start, width),
        decoder=scaled(c.decoder, width),
        last=scaled(c.last, width),
        local_encoder=scaled(c.local_encoder, local_width),
        local_decoder=scaled(c.local_decoder, local_width),
    )


# The presets of the report and the lighter ones: what `tpgan_config` is given.
PRESETS: dict[str, dict[str, Any]] = {
    "teacher": {"width": 1.0, "local_width": 1.0},
    "report-student": {"width": 1.0, "local_width": 0.25},
    "light": {"width": 0.5, "local_width": 0.25},
    "tiny": {"width": 0.25, "local_width": 0.25, "fused": 16},
}


class TPGANOutput(NamedTuple):
    """Everything that losses look at; R is the resolution."""

    image: Tensor  # [N, 3, R, R]
    half: Tensor  # [N, 3, R/2, R/2]
    quarter: Tensor  # [N, 3, R/4, R/4]
    patches: dict[str, Tensor]  # of each local pathway, [N, 3, h, w]
    code: Tensor  # [N, code]
    identity: Tensor | None  # logits [N, identities]
    features: dict[str, Tensor]  # of the encoders: global.conv1 .. conv4, NAME.conv1 .. conv3


class TPGAN(Translator):
    """(face, landmarks) -> frontal face.

    `forward(image, landmarks, z)` takes faces [N, 3, R, R] in [-1, 1], `landmarks` [N, 5, 2] as (x, y) in pixels in the order
    of `TEMPLATE` (None: the template), and noise `z` [N, z_dim] (None: zeros).
    """

    family = "tpgan"
    what = "a network that turns faces to the front"
    config_class = TPGANConfig
    config: TPGANConfig
    centres: Tensor
    masks: Tensor

    def __init__(self, config: TPGANConfig) -> None:
        super().__init__()
        self.config = c = config
        self.global_pathway = GlobalPathway(
            c.resolution, c.encoder, c.start, c.decoder, c.last, c.fused, c.code, c.z_dim
        )
        self.local_pathways = nn.ModuleDict(
            {name: LocalPathway(c.local_encoder, c.local_decoder, c.fused) for name in PATCHES}
        )
        self.identity = nn.Linear(c.code, c.identities) if c.identities else None
        self.register_buffer("centres", template(c.resolution), persistent=False)
        with torch.device("cpu"):  # numbers, also for a network that is only counted
            at = template(c.resolution)[None]
            self._corners: dict[str, list[int]] = {n: _corner(at, n, c.resolution)[0].tolist() for n in PATCHES}
        ones = {
            name: torch.ones(1, 1, height, width)
            for name, (width, height) in ((n, patch_size(n, c.resolution)) for n in PATCHES)
        }
        placed = torch.cat([self._place(name, patch) for name, patch in ones.items()])
        self.register_buffer("masks", placed / placed.sum(0).clamp(min=1), persistent=False)  # [4, 1, R, R]

    def sample_inputs(self, n: int, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Uniform noise for faces, landmarks within a few pixels of the template."""
        c = self.config
        image = torch.rand(n, *self.image_shape, generator=generator) * 2 - 1
        jitter = torch.randn(n, 5, 2, generator=generator) * (c.resolution / 64)
        return {"image": image, "landmarks": template(c.resolution) + jitter}

    def forward(
        self, image: Tensor, landmarks: Tensor | None = None, z: Tensor | None = None, *, full: bool = False,
        keep: Tensor | None = None,
    ) -> Any:  # fmt: skip
        """The frontal face [N, 3, R, R]; with `full` a `TPGANOutput`.

        Args:
            keep: numbers in [0, 1), [N, code]: the identity head does without the features whose number is below 0.3.
        """
        if landmarks is None:
            landmarks = self.centres.expand(len(image), -1, -1)
        if z is None and self.config.z_dim:
            z = image[:, 0, 0, :1] * 0 + image.new_zeros(1, self.config.z_dim)  # a traced graph keeps its batch free so
        locals_ = {name: self.local_pathways[name](crop(image, landmarks, name)) for name in PATCHES}
        fused = self._fuse({name: out.fused for name, out in locals_.items()})
        pictures = self._fuse({name: out.image for name, out in locals_.items()})
        whole = self.global_pathway(image, fused, pictures, z)
        if not full:
            return whole.image
        identity = None
        if self.identity is not None:
            seen = whole.code if keep is None else whole.code * (keep >= DROPOUT) / (1 - DROPOUT)
            identity = self.identity(seen)
        features = {f"global.{k}": v for k, v in whole.features.items()}
        features |= {f"{name}.{k}": v for name, out in locals_.items() for k, v in out.features.items()}
        patches = {name: out.image for name, out in locals_.items()}
        return TPGANOutput(whole.image, whole.half, whole.quarter, patches, whole.code, identity, features)

    def _fuse(self, patches: dict[str, Tensor]) -> Tensor:
        """All patches at their places in the frontal face: the mean of those that cover a pixel, 0 where none does."""
        placed = [
            self._place(name, patch) * mask for (name, patch), mask in zip(patches.items(), self.masks, strict=True)
        ]
        return torch.stack(placed).sum(0)

    def _place(self, name: str, patch: Tensor) -> Tensor:
        """[N, C, h, w] -> [N, C, R, R], zero around the patch."""
        size, (left, top) = self.config.resolution, self._corners[name]
        height, width = patch.shape[2:]
        return F.pad(patch, (left, size - left - width, top, size - top - height))


def template(resolution: int) -> Tensor:
    """`TEMPLATE` in pixels of a picture of `resolution`, [5, 2]."""
    return torch.tensor(TEMPLATE) * (resolution / 128)


def patch_size(name: str, resolution: int) -> tuple[int, int]:
    """Width and height of a patch in pixels of a picture of `resolution`."""
    width, height = PATCHES[name]
    return width * resolution // 128, height * resolution // 128


def crop(image: Tensor, landmarks: Tensor, name: str) -> Tensor:
    """The patch around a feature, [N, 3, R, R] and [N, 5, 2] -> [N, 3, h, w]; beyond the border its last pixels are repeated."""
    resolution = image.shape[-1]
    width, height = patch_size(name, resolution)
    corner = _corner(landmarks, name, resolution)  # [N, 2]
    columns = (corner[:, :1] + torch.arange(width, device=image.device)).clamp(0, resolution - 1)
    rows = (corner[:, 1:] + torch.arange(height, device=image.device)).clamp(0, resolution - 1)
    n, channels = image.shape[:2]
    strip = image.gather(2, rows[:, None, :, None].expand(n, channels, height, resolution))
    return strip.gather(3, columns[:, None, None, :].expand(n, channels, height, width))


def _corner(landmarks: Tensor, name: str, resolution: int) -> Tensor:
    """Top left pixel (x, y) of a patch, int64 [N, 2]."""
    points = {
        "left_eye": landmarks[:, 0], "right_eye": landmarks[:, 1],
        "nose": landmarks[:, 2] - landmarks.new_tensor([0.0, _ABOVE_TIP * resolution / 128]),
        "mouth": landmarks[:, 3:].mean(1),
    }  # fmt: skip
    half = torch.tensor(patch_size(name, resolution), device=landmarks.device) // 2
    return points[name].round().long() - half
