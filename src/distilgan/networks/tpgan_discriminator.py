"""TP-GAN's critic: strided convolutions to a small map of scores, one for each part of the face.

Source: Huang et al. 2017, section 3.1; layers as in the MIT-licensed port `iwtw/pytorch-TP-GAN`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from torch import Tensor, nn

from distilgan.networks.conditional import check_halvings
from distilgan.networks.pretrained import Pretrained
from distilgan.networks.tpgan_pathways import Convolution, Residual


@dataclass(frozen=True)
class TPGANDiscriminatorConfig:
    """Args:
    resolution: of the pictures. channels: widths of the 3x3 convolutions, each of which halves the size; a residual block
        follows each of the last two.
    """

    resolution: int
    channels: list[int]

    def __post_init__(self) -> None:
        check_halvings(self.resolution, self.channels)


def discriminator_widths(width: float) -> list[int]:
    """The published widths times `width`."""
    return [max(1, int(w * width)) for w in (64, 128, 256, 512, 512)]


class TPGANDiscriminator(Pretrained):
    """Picture [N, 3, R, R] -> scores [N, 1, R/32, R/32]."""

    family = "tpgan-discriminator"
    config_class = TPGANDiscriminatorConfig
    weights_file = "discriminator.safetensors"
    config: TPGANDiscriminatorConfig

    def __init__(self, config: TPGANDiscriminatorConfig) -> None:
        super().__init__()
        self.config = c = config
        layers: list[nn.Module] = []
        for i, (before, after) in enumerate(itertools.pairwise([3, *c.channels])):
            layers.append(Convolution(before, after, 3, 2))
            if i >= len(c.channels) - 2:
                layers.append(Residual(after, 3))
        self.layers = nn.Sequential(*layers, nn.Conv2d(c.channels[-1], 1, 3, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        scores: Tensor = self.layers(image)
        return scores
