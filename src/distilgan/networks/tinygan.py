"""TinyGAN: a class-conditional generator of depthwise convolutions, with an explicit channel count for every block.

Source: Chang and Lu, "TinyGAN: Distilling BigGAN for Conditional Image Generation", ACCV 2020, section 3.1. Differs from its
code where that is a slip: gain and offset of the normalisations start at 1 and 0 (there both start as the sum of the class
embedding, because the initialisation indexes columns for rows).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distilgan.networks.conditional import (
    STEM,
    AffineBatchNorm,
    ClassEmbedding,
    ConditionalBatchNorm,
    StatisticsRow,
    check_positive,
    check_widths,
)
from distilgan.networks.generator import ImageGenerator, class_weights
from distilgan.networks.latents import Distribution, LatentSpec

_ROW = StatisticsRow()


@dataclass(frozen=True)
class TinyGANConfig:
    """Everything that fixes the architecture.

    Args:
        resolution: a power of two, at least 8.
        channels: widths of the 4x4 stem and of each block's output; a block doubles the size.
        num_classes: classes of the embedding. embed_dim: its length.
        latent_shape: [D], or [C, R, R] for a latent that is an image of the output's size.
        depthwise: 3x3 convolutions are depthwise and followed by pointwise ones; False: plain.
        skip_z: the latent is appended to the class embedding in every normalisation.
        class_at_stem: the class embedding is appended to the latent at the stem.
        distribution: of the latent.
    """

    resolution: int
    channels: list[int]
    num_classes: int
    latent_shape: list[int]
    embed_dim: int = 128
    depthwise: bool = True
    skip_z: bool = False
    class_at_stem: bool = False
    distribution: Distribution = "normal"

    def __post_init__(self) -> None:
        check_widths(self.resolution, self.channels)
        check_positive(self, "num_classes", "embed_dim")
        if len(LatentSpec(self.latent_shape).shape) == 3:
            if self.latent_shape[1:] != [self.resolution] * 2:
                raise ValueError(f"latent_shape={self.latent_shape}: an image latent must be {self.resolution} px wide")
            if self.skip_z or self.class_at_stem:
                raise ValueError("skip_z and class_at_stem need a latent that is a vector")


class TinyGANBlock(nn.Module):
    """Residual block to twice the size: norm, ReLU, bilinear x2, convolution, norm, ReLU, convolution; beside it a 1x1."""

    def __init__(self, channels: int, out_channels: int, condition: int, depthwise: bool) -> None:
        super().__init__()
        self.norm1 = ConditionalBatchNorm(channels, condition, bias=True)
        self.norm2 = ConditionalBatchNorm(out_channels, condition, bias=True)
        self.conv1 = _convolution(channels, out_channels, depthwise)
        self.conv2 = _convolution(out_channels, out_channels, depthwise)
        self.shortcut = nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        y = self.conv1(_double(F.relu(self.norm1(x, condition, _ROW))))
        # A 1x1 convolution commutes with enlarging; before it, it costs a quarter.
        out: Tensor = self.conv2(F.relu(self.norm2(y, condition, _ROW))) + _double(self.shortcut(x))
        return out


class TinyGAN(ImageGenerator):
    """(latent, class) -> picture; truncation scales the latent."""

    family = "tinygan"
    config_class = TinyGANConfig
    config: TinyGANConfig

    def __init__(self, config: TinyGANConfig) -> None:
        super().__init__()
        self.config = c = config
        self.embedding = ClassEmbedding(c.num_classes, c.embed_dim)
        if len(c.latent_shape) == 3:
            # 4x4 tiles of the latent, each to one position of the stem.
            tile = c.resolution // STEM
            self.stem: nn.Module = nn.Sequential(
                nn.PixelUnshuffle(tile), nn.Conv2d(c.latent_shape[0] * tile**2, c.channels[0], 1)
            )
        else:
            inputs = c.latent_shape[0] + (c.embed_dim if c.class_at_stem else 0)
            self.stem = nn.Linear(inputs, c.channels[0] * STEM**2)
        condition = c.embed_dim + (c.latent_shape[0] if c.skip_z else 0)
        self.blocks = nn.ModuleList(
            TinyGANBlock(before, after, condition, c.depthwise) for before, after in itertools.pairwise(c.channels)
        )
        self.output_norm = AffineBatchNorm(c.channels[-1])
        self.to_rgb = nn.Conv2d(c.channels[-1], 3, 3, padding=1)
        _initialise(self)

    @property
    def latent(self) -> LatentSpec:
        return LatentSpec(self.config.latent_shape, self.config.distribution)

    @property
    def num_classes(self) -> int:
        return self.config.num_classes

    def forward(self, z: Tensor, label: Tensor | None = None, *, truncation: float = 1.0) -> Tensor:
        c, z = self.config, z * truncation
        classes = self.embedding(class_weights(label, c.num_classes) if label is None else label)
        x = self.stem(torch.cat([z, classes], dim=1) if c.class_at_stem else z).reshape(z.shape[0], -1, STEM, STEM)
        condition = torch.cat([classes, z], dim=1) if c.skip_z else classes
        for block in self.blocks:
            x = block(x, condition)
        return torch.tanh(self.to_rgb(F.relu(self.output_norm(x, _ROW))).float())


def _convolution(channels: int, out_channels: int, depthwise: bool) -> nn.Module:
    if not depthwise:
        return nn.Conv2d(channels, out_channels, 3, padding=1)
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels), nn.Conv2d(channels, out_channels, 1)
    )


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


@torch.no_grad()
def _initialise(network: TinyGAN) -> None:
    """Xavier, gain √2 for depthwise convolutions; normalisations start with gain 1 and offset 0 whatever the class."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.xavier_uniform_(module.weight, gain=math.sqrt(2) if module.groups > 1 else 1)
        elif isinstance(module, ConditionalBatchNorm):
            for layer in (module.gain, module.offset):
                nn.init.zeros_(layer.weight)  # type: ignore[arg-type]
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
