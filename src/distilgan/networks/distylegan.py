"""The DiStyleGAN student and its critic, for comparison.

Source: the DiStyleGAN project (GSoC 2022, OpenVINO), which distils a StyleGAN2-ADA; no paper describes the networks.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distilgan.networks.conditional import (
    STEM,
    AffineBatchNorm,
    StatisticsRow,
    check_halvings,
    check_positive,
    check_widths,
)
from distilgan.networks.generator import ImageGenerator, class_weights
from distilgan.networks.latents import Distribution, LatentSpec
from distilgan.networks.pretrained import Pretrained

_ROW = StatisticsRow()


@dataclass(frozen=True)
class DiStyleGANConfig:
    """Everything that fixes the architecture.

    Args:
        resolution: a power of two, at least 8.
        channels: widths of the 4x4 stem and of each block's output; a block doubles the size.
        num_classes: length of the class vector, which enters at the stem and nowhere else.
        z_dim: length of the latent. project_dim: what it is projected to. distribution: of the latent.
    """

    resolution: int
    channels: list[int]
    num_classes: int
    z_dim: int = 512
    project_dim: int = 128
    distribution: Distribution = "normal"

    def __post_init__(self) -> None:
        check_widths(self.resolution, self.channels)
        check_positive(self, "num_classes", "z_dim", "project_dim")


class _Gated(nn.Module):
    """A layer without bias to twice the width, normalised, half of it gating the other (GLU)."""

    def __init__(self, layer: nn.Linear | nn.Conv2d, channels: int) -> None:
        super().__init__()
        self.layer, self.norm = layer, AffineBatchNorm(2 * channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        flat = y.dim() == 2
        y = self.norm(y[:, :, None, None] if flat else y, _ROW)
        return F.glu(y[:, :, 0, 0] if flat else y, dim=1)


class DiStyleGAN(ImageGenerator):
    """(z [N, z_dim], class) -> picture; truncation scales z."""

    family = "distylegan"
    config_class = DiStyleGANConfig
    config: DiStyleGANConfig

    def __init__(self, config: DiStyleGANConfig) -> None:
        super().__init__()
        self.config = c = config
        width = c.channels[0] * STEM**2
        self.project = _Gated(nn.Linear(c.z_dim, 2 * c.project_dim, bias=False), c.project_dim)
        self.stem = _Gated(nn.Linear(c.project_dim + c.num_classes, 2 * width, bias=False), width)
        self.blocks = nn.ModuleList(
            _Gated(nn.Conv2d(before, 2 * after, 3, padding=1, bias=False), after)
            for before, after in itertools.pairwise(c.channels)
        )
        self.to_rgb = nn.Conv2d(c.channels[-1], 3, 3, padding=1, bias=False)
        _initialise(self)

    @property
    def latent(self) -> LatentSpec:
        return LatentSpec([self.config.z_dim], self.config.distribution)

    @property
    def num_classes(self) -> int:
        return self.config.num_classes

    def forward(self, z: Tensor, label: Tensor | None = None, *, truncation: float = 1.0) -> Tensor:
        classes = class_weights(label, self.config.num_classes)
        x = self.stem(torch.cat([self.project(z * truncation), classes], dim=1)).reshape(z.shape[0], -1, STEM, STEM)
        for block in self.blocks:
            x = block(F.interpolate(x, scale_factor=2, mode="nearest"))
        return torch.tanh(self.to_rgb(x).float())


@torch.no_grad()
def _initialise(network: nn.Module) -> None:
    """Orthogonal weights, no biases; normalisation gains N(1, 0.02)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.orthogonal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, AffineBatchNorm):
            nn.init.normal_(module.gain, 1.0, 0.02)


@dataclass(frozen=True)
class DiStyleCriticConfig:
    """Everything that fixes the architecture.

    Args:
        resolution: of the pictures. channels: widths of the 4x4 convolutions, each of which halves the size.
        num_classes: length of the class vector. project_dim: of the picture before the class is appended.
        slope: of the leaky ReLU.
    """

    resolution: int
    channels: list[int]
    num_classes: int
    project_dim: int = 128
    slope: float = 0.2

    def __post_init__(self) -> None:
        check_halvings(self.resolution, self.channels)
        check_positive(self, "num_classes", "project_dim")


class DiStyleCritic(Pretrained):
    """Picture and class -> score [N, 1] = w·h(x) + b[class], and the features of each convolution.

    The class only adds a constant: nothing of the score's gradient to the picture depends on it.
    """

    family = "distylegan-discriminator"
    config_class = DiStyleCriticConfig
    weights_file = "discriminator.safetensors"
    without_spectral_norm = ("output",)
    config: DiStyleCriticConfig

    def __init__(self, config: DiStyleCriticConfig) -> None:
        super().__init__()
        self.config = c = config
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 4, 2, 1) for before, after in itertools.pairwise([3, *c.channels])
        )
        side = c.resolution >> len(c.channels)
        self.project = nn.Linear(c.channels[-1] * side**2, 2 * c.project_dim, bias=False)
        self.output = nn.Linear(c.project_dim + c.num_classes, 1, bias=False)
        _initialise(self)

    def forward(self, image: Tensor, label: Tensor) -> tuple[Tensor, list[Tensor]]:
        x, features = image, []
        for convolution in self.convolutions:
            x = F.leaky_relu(convolution(x), self.config.slope)
            features.append(x)
        h = F.glu(self.project(x.flatten(1)), dim=1)
        return self.output(torch.cat([h, class_weights(label, self.config.num_classes)], dim=1)), features
