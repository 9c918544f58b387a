"""PatchGAN: a critic that scores each patch of a picture.

Source: Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017, section 3.2.2; antialiased as
in CUT. Parameter names are those of the official code.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from torch import Tensor, nn

from distilgan.networks.pretrained import Pretrained
from distilgan.networks.resnet_translator import BlurDownsample, _initialise
from distilgan.networks.statistics import InstanceNorm


@dataclass(frozen=True)
class PatchDiscriminatorConfig:
    """Args:
    channels: widths of the layers before the scores, each but the last of which halves the size. inputs: channels of what is
        scored: 3, or 6 for a picture beside what it was made of. antialias: halve by a blur.
    """

    channels: list[int]
    inputs: int = 3
    antialias: bool = True


def patch_widths(width: int, layers: int = 3) -> list[int]:
    """Widths that double up to eight times the first."""
    return [width * min(2**i, 8) for i in range(layers + 1)]


class PatchDiscriminator(Pretrained):
    """[N, inputs, H, W] -> scores [N, 1, about H/8, about W/8] of patches of 70 px (with three halvings)."""

    family = "patch-discriminator"
    config_class = PatchDiscriminatorConfig
    weights_file = "discriminator.safetensors"
    config: PatchDiscriminatorConfig

    def __init__(self, config: PatchDiscriminatorConfig) -> None:
        super().__init__()
        self.config = c = config
        layers: list[nn.Module] = []
        for i, (before, after) in enumerate(itertools.pairwise([c.inputs, *c.channels])):
            halves = i < len(c.channels) - 1
            layers.append(nn.Conv2d(before, after, 4, 2 if halves and not c.antialias else 1, 1))
            layers += [InstanceNorm()] if i else []
            layers.append(nn.LeakyReLU(0.2))
            layers += [BlurDownsample(after)] if halves and c.antialias else []
        self.model = nn.Sequential(*layers, nn.Conv2d(c.channels[-1], 1, 4, 1, 1))
        self.apply(_initialise)

    def forward(self, image: Tensor) -> Tensor:
        scores: Tensor = self.model(image)
        return scores
