"""TinyGAN's critic: a chain of strided convolutions with class projection, whose layers are also what features are compared in.

Source: Chang and Lu 2020, section 3.2; Miyato and Koyama, "cGANs with Projection Discriminator", 2018, equation 3.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from distilgan.networks.conditional import ClassEmbedding, check_halvings, check_positive
from distilgan.networks.pretrained import Pretrained


@dataclass(frozen=True)
class ProjectionDiscriminatorConfig:
    """Everything that fixes the architecture.

    Args:
        resolution: of the pictures. channels: widths of the 4x4 convolutions, each of which halves the size.
        num_classes: of the projection. slope: of the leaky ReLU.
    """

    resolution: int
    channels: list[int]
    num_classes: int
    slope: float = 0.01

    def __post_init__(self) -> None:
        check_halvings(self.resolution, self.channels)
        check_positive(self, "num_classes")


class ProjectionDiscriminator(Pretrained):
    """Picture and class -> score [N, 1] = w·h + e_class·h with h the summed features, and the features of each layer."""

    family = "projection-discriminator"
    config_class = ProjectionDiscriminatorConfig
    weights_file = "discriminator.safetensors"
    config: ProjectionDiscriminatorConfig

    def __init__(self, config: ProjectionDiscriminatorConfig) -> None:
        super().__init__()
        self.config = c = config
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 4, 2, 1) for before, after in itertools.pairwise([3, *c.channels])
        )
        self.linear = nn.Linear(c.channels[-1], 1)
        self.embed = ClassEmbedding(c.num_classes, c.channels[-1])

    def forward(self, image: Tensor, label: Tensor) -> tuple[Tensor, list[Tensor]]:
        x, features = image, []
        for convolution in self.convolutions:
            x = F.leaky_relu(convolution(x), self.config.slope)
            features.append(x)
        h = x.sum((2, 3))
        return self.linear(h) + (self.embed(label) * h).sum(1, keepdim=True), features
