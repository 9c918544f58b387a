"""The StyleGAN2 discriminator (residual), with an explicit width for every resolution.

Source: Karras et al. 2020, figure 7c; parameter names as in the official PyTorch network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from torch import Tensor, nn

from distilgan.networks.layers import Conv2d, Linear, full_precision, minibatch_stddev
from distilgan.networks.pretrained import Pretrained
from distilgan.networks.resample import fir_kernel
from distilgan.networks.stylegan2 import MappingNetwork


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Everything that fixes the architecture.

    Args:
        resolution: a power of two, at least 8.
        channels: widths at resolution R, R/2, ..., 4.
        label_dim: length of the class vector (projection through a mapping network); 0 is unconditional.
        mbstd_group: samples that share a minibatch deviation.
        conv_clamp: activations are clipped to ± this; None does not clip.
    """

    resolution: int
    channels: list[int] = field(default_factory=list)
    label_dim: int = 0
    mbstd_group: int = 4
    conv_clamp: float | None = 256.0

    def __post_init__(self) -> None:
        if self.resolution < 8 or self.resolution & (self.resolution - 1):
            raise ValueError(f"resolution={self.resolution}: must be a power of two, at least 8")
        if not self.channels:
            object.__setattr__(self, "channels", discriminator_channels(self.resolution))
        if len(self.channels) != len(self.resolutions):
            raise ValueError(
                f"channels has {len(self.channels)} entries; resolution {self.resolution} needs {len(self.resolutions)}"
            )

    @property
    def resolutions(self) -> list[int]:
        return [2**i for i in range(int(math.log2(self.resolution)), 1, -1)]


def discriminator_channels(resolution: int, base: int = 32768, maximum: int = 512) -> list[int]:
    """The official widths: min(base / r, maximum) for r = resolution, ..., 4."""
    return [min(base // 2**i, maximum) for i in range(int(math.log2(resolution)), 1, -1)]


class DiscriminatorBlock(nn.Module):
    """Two convolutions and a residual path, to half the resolution."""

    def __init__(self, channels: int, out_channels: int, from_rgb: bool, clamp: float | None) -> None:
        super().__init__()
        self.register_buffer("resample_filter", fir_kernel())  # unused: part of the official state dict
        if from_rgb:
            self.fromrgb = Conv2d(3, channels, 1, clamp=clamp)
        self.conv0 = Conv2d(channels, channels, 3, clamp=clamp)
        self.conv1 = Conv2d(channels, out_channels, 3, down=True, gain=math.sqrt(0.5), clamp=clamp)
        self.skip = Conv2d(
            channels, out_channels, 1, bias=False, activate=False, down=True, gain=math.sqrt(0.5), clamp=None
        )
        self.from_rgb = from_rgb

    def forward(self, x: Tensor) -> Tensor:
        if self.from_rgb:
            x = self.fromrgb(x)
        y: Tensor = self.skip(x) + self.conv1(self.conv0(x))
        return y


class DiscriminatorEpilogue(nn.Module):
    """Minibatch deviation, convolution, two fully connected layers; the score of each picture."""

    def __init__(self, channels: int, label_dim: int, group: int, clamp: float | None) -> None:
        super().__init__()
        width = channels if label_dim else 1
        self.conv = Conv2d(channels + 1, channels, 3, clamp=clamp)
        self.fc = Linear(channels * 16, channels, activate=True)
        self.out = Linear(channels, width)
        self.group = group

    def forward(self, x: Tensor, projection: Tensor | None) -> Tensor:
        with full_precision(x):
            x = self.conv(minibatch_stddev(x.float(), self.group))
            score: Tensor = self.out(self.fc(x.flatten(1)))
        if projection is not None:
            score = (score * projection).sum(dim=1, keepdim=True) / math.sqrt(projection.shape[1])
        return score


class Discriminator(Pretrained):
    """Picture [N, 3, R, R] (and class vector) -> realness score [N, 1]."""

    family = "stylegan2-discriminator"
    config_class = DiscriminatorConfig
    weights_file = "discriminator.safetensors"
    config: DiscriminatorConfig

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.channels
        for i, resolution in enumerate(config.resolutions[:-1]):
            block = DiscriminatorBlock(widths[i], widths[i + 1], from_rgb=i == 0, clamp=config.conv_clamp)
            self.add_module(f"b{resolution}", block)
        if config.label_dim:
            self.mapping = MappingNetwork(0, widths[-1], 8, config.label_dim, track_average=False)
        self.b4 = DiscriminatorEpilogue(widths[-1], config.label_dim, config.mbstd_group, config.conv_clamp)

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        x = image
        for resolution in self.config.resolutions[:-1]:
            x = self.get_submodule(f"b{resolution}")(x)
        projection = self.mapping(None, label) if self.config.label_dim else None
        score: Tensor = self.b4(x, projection)
        return score
