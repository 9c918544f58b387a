"""BigGAN's residual critic with class projection.

Source: Brock et al. 2019, appendix B, figure 15c; Miyato and Koyama, "cGANs with Projection Discriminator", 2018, equation 3.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import Tensor, nn

from distilgan.networks.conditional import Attention, ClassEmbedding
from distilgan.networks.pretrained import Pretrained


@dataclass(frozen=True)
class ResNetDiscriminatorConfig:
    """Everything that fixes the architecture.

    Args:
        resolution: of the pictures. channels: each block's output. num_classes: of the projection.
        halvings: the first so many blocks halve the size.
        attention: resolutions behind whose block a self-attention layer sits.
    """

    resolution: int
    channels: list[int]
    num_classes: int
    halvings: int
    attention: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not 0 <= self.halvings <= len(self.channels):
            raise ValueError(f"halvings={self.halvings}: must be 0 to {len(self.channels)}, the number of blocks")
        if self.resolution % 2**self.halvings:
            raise ValueError(f"channels={self.channels}: {self.resolution} px cannot be halved {self.halvings} times")
        sizes = [self.resolution >> i for i in range(1, self.halvings + 1)]
        if any(size not in sizes for size in self.attention):
            raise ValueError(f"attention={self.attention}: the blocks end at {', '.join(map(str, sizes))} px")


class ResNetBlock(nn.Module):
    """ReLU (but in the first block), 3x3, ReLU, 3x3, mean of 2x2 where the size is halved; beside it a 1x1 convolution."""

    def __init__(self, channels: int, out_channels: int, first: bool, down: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = nn.Conv2d(channels, out_channels, 1) if down or channels != out_channels else None
        self.first, self.down = first, down

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x))))
        if self.down:  # before the 1x1 convolution, which commutes with the mean
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        y += x if self.shortcut is None else self.shortcut(x)
        return y


class ResNetDiscriminator(Pretrained):
    """Picture [N, 3, R, R] and class -> score [N, 1] = w·h + e_class·h with h the summed features."""

    family = "resnet-discriminator"
    config_class = ResNetDiscriminatorConfig
    weights_file = "discriminator.safetensors"
    config: ResNetDiscriminatorConfig

    def __init__(self, config: ResNetDiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        self.blocks, self.attention = nn.ModuleList(), nn.ModuleDict()
        size = config.resolution
        for i, (channels, out) in enumerate(itertools.pairwise([3, *config.channels])):
            down = i < config.halvings
            size = size // 2 if down else size
            self.blocks.append(ResNetBlock(channels, out, i == 0, down))
            if down and size in config.attention:
                self.attention[str(size)] = Attention(out)
        self.linear = nn.Linear(config.channels[-1], 1)
        self.embed = ClassEmbedding(config.num_classes, config.channels[-1])

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        x, attended = image, set()
        for block in self.blocks:
            x = block(x)
            key = str(x.shape[-1])
            if key in self.attention and key not in attended:
                x = self.attention[key](x)
                attended.add(key)
        h = F.relu(x).sum((2, 3))
        score: Tensor = self.linear(h) + (self.embed(label) * h).sum(1, keepdim=True)
        return score
