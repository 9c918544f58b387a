"""BigGAN and BigGAN-deep generators, with an explicit channel count for every block.

Source: Brock, Donahue, Simonyan, "Large Scale GAN Training for High Fidelity Natural Image Synthesis", 2019, appendix B,
figures 15 and 16. Spectral normalisation belongs to training (`networks/spectral.py`); stored weights have it baked in.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distilgan.networks.conditional import (
    STEM,
    AffineBatchNorm,
    Attention,
    ClassEmbedding,
    ConditionalBatchNorm,
    StatisticsRow,
    check_positive,
    check_widths,
    doublings,
)
from distilgan.networks.generator import ImageGenerator, class_weights
from distilgan.networks.latents import LatentSpec


@dataclass(frozen=True)
class BigGANConfig:
    """Everything that fixes the architecture, of both kinds.

    Args:
        resolution: a power of two, at least 8.
        channels: widths of the 4x4 stem and of each block's output; a block doubles the size (deep: every second does).
        num_classes: 0 is not possible; for an unconditional one use 1.
        z_dim: length of the latent.
        embed_dim: length of the shared class embedding; 0: every normalisation has a table by class instead.
        hierarchical: (BigGAN) z is cut into one piece for the stem and one for each block; else the stem takes all of it.
        attention: resolutions behind whose last block a self-attention layer sits.
        norm_eps, output_norm_eps: ε of the conditional normalisations and of the last one.
        latent: distribution of z.
        statistics: stored sets of normalisation statistics, for truncations 0 to 1 in equal steps; 1 fits all.
    """

    resolution: int
    channels: list[int]
    num_classes: int
    z_dim: int = 120
    embed_dim: int = 128
    hierarchical: bool = True
    attention: list[int] = field(default_factory=list)
    norm_eps: float = 1e-5
    output_norm_eps: float = 1e-5
    latent: Literal["normal", "truncated_normal"] = "normal"
    statistics: int = 1

    def __post_init__(self) -> None:
        check_positive(self, "num_classes", "z_dim", "statistics")
        if min(self.embed_dim, self.norm_eps, self.output_norm_eps) < 0:
            raise ValueError("embed_dim, norm_eps and output_norm_eps cannot be negative")
        sizes = [STEM * 2**i for i in range(1, doublings(self.resolution) + 1)]
        for size in self.attention:
            if size not in sizes:
                raise ValueError(f"attention={self.attention}: no block ends at {size} px")


class BigGANBlock(nn.Module):
    """Residual block to twice the size: norm, ReLU, nearest x2, 3x3, norm, ReLU, 3x3; beside it a 1x1 convolution."""

    def __init__(self, channels: int, out_channels: int, norms: Sequence[ConditionalBatchNorm]) -> None:
        super().__init__()
        self.norm1, self.norm2 = norms
        self.conv1 = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor, condition: Tensor, row: StatisticsRow) -> Tensor:
        y = self.conv1(_double(F.relu(self.norm1(x, condition, row))))
        # A 1x1 convolution commutes with enlarging; before it, it costs a quarter.
        out: Tensor = self.conv2(F.relu(self.norm2(y, condition, row))) + _double(self.shortcut(x))
        return out


class BigGANDeepBlock(nn.Module):
    """Bottleneck block: 1x1 to a quarter of the width, two 3x3, 1x1; the skip drops the channels that are too many."""

    def __init__(self, channels: int, out_channels: int, up: bool, norms: Sequence[ConditionalBatchNorm]) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3, self.norm4 = norms
        hidden = channels // 4
        self.conv1 = nn.Conv2d(channels, hidden, 1)
        self.conv2 = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.conv3 = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.conv4 = nn.Conv2d(hidden, out_channels, 1)
        self.up, self.out_channels = up, out_channels

    def forward(self, x: Tensor, condition: Tensor, row: StatisticsRow) -> Tensor:
        y = self.conv1(F.relu(self.norm1(x, condition, row)))
        y = F.relu(self.norm2(y, condition, row))
        x = x[:, : self.out_channels]
        if self.up:
            x, y = _double(x), _double(y)
        y = self.conv3(F.relu(self.norm3(self.conv2(y), condition, row)))
        out: Tensor = x + self.conv4(F.relu(self.norm4(y, condition, row)))
        return out


class _BigGANFamily(ImageGenerator):
    """What the two have in common: the class embedding, the statistics' row, stem, blocks and output."""

    config_class = BigGANConfig
    config: BigGANConfig

    def __init__(self, config: BigGANConfig, stem_inputs: int) -> None:
        super().__init__()
        self.config = config
        if config.embed_dim:
            self.shared = ClassEmbedding(config.num_classes, config.embed_dim)
        self.stem = nn.Linear(stem_inputs, config.channels[0] * STEM**2)
        self.blocks = nn.ModuleList()
        self.attention = nn.ModuleDict()
        self.output_norm = AffineBatchNorm(config.channels[-1], config.output_norm_eps, config.statistics)
        self.to_rgb = nn.Conv2d(config.channels[-1], 3, 3, padding=1)

    @property
    def latent(self) -> LatentSpec:
        return LatentSpec([self.config.z_dim], self.config.latent)

    @property
    def num_classes(self) -> int:
        return self.config.num_classes

    def check_truncation(self, truncation: float) -> None:
        if self.config.statistics > 1 and not 0 < truncation <= 1:
            raise ValueError(
                f"truncation {truncation:g}: this network has statistics for truncations above 0 and up to 1"
            )

    def statistics_row(self, truncation: float) -> StatisticsRow:
        """Row truncation · (S - 1) of the stored statistics, exactly on the grid, linearly blended between two rows."""
        self.check_truncation(truncation)
        last = self.config.statistics - 1
        if not last:
            return StatisticsRow()
        position = truncation * last
        nearest = round(position)
        if abs(position - nearest) < 1e-6:  # 0.58 · 50 is not 29 in floating point
            return StatisticsRow(nearest, nearest)
        low = math.floor(position)
        return StatisticsRow(low, low + 1, position - low)

    def _norm(self, channels: int, condition: int) -> ConditionalBatchNorm:
        c = self.config
        classes = 0 if c.embed_dim else c.num_classes
        return ConditionalBatchNorm(channels, condition, classes=classes, eps=c.norm_eps, rows=c.statistics)

    def _embedded(self, label: Tensor | None) -> Tensor:
        if label is None or label.dim() == 2:
            label = class_weights(label, self.config.num_classes)
        return self.shared(label) if self.config.embed_dim else label

    def _pictures(self, z: Tensor, conditions: Sequence[Tensor], truncation: float) -> Tensor:
        row = self.statistics_row(truncation)
        per_size = len(self.blocks) // doublings(self.config.resolution)
        x = self.stem(z).reshape(z.shape[0], -1, STEM, STEM)
        for i, (block, condition) in enumerate(zip(self.blocks, conditions, strict=True)):
            x = block(x, condition, row)
            if (i + 1) % per_size == 0 and str(x.shape[-1]) in self.attention:
                x = self.attention[str(x.shape[-1])](x)
        return torch.tanh(self.to_rgb(F.relu(self.output_norm(x, row))).float())


class BigGAN(_BigGANFamily):
    """(z [N, z_dim], class) -> picture; truncation scales z and picks the stored statistics."""

    family = "biggan"

    def __init__(self, config: BigGANConfig) -> None:
        check_widths(config.resolution, config.channels)
        pieces = len(config.channels) if config.hierarchical else 1
        if config.z_dim % pieces:
            raise ValueError(
                f"z_dim={config.z_dim}: does not divide into {pieces} pieces, one for the stem and each block"
            )
        self.piece = config.z_dim // pieces
        super().__init__(config, self.piece)
        condition = config.embed_dim + (self.piece if config.hierarchical else 0)
        for i, (channels, out) in enumerate(itertools.pairwise(config.channels)):
            self.blocks.append(BigGANBlock(channels, out, [self._norm(c, condition) for c in (channels, out)]))
            if (size := STEM * 2 ** (i + 1)) in config.attention:
                self.attention[str(size)] = Attention(out)

    def forward(self, z: Tensor, label: Tensor | None = None, *, truncation: float = 1.0) -> Tensor:
        z = z * truncation
        classes = self._embedded(label)
        if not self.config.hierarchical:
            return self._pictures(z, [classes] * len(self.blocks), truncation)
        first, *rest = torch.split(z, self.piece, dim=1)
        return self._pictures(first, [torch.cat([classes, piece], dim=1) for piece in rest], truncation)


class BigGANDeep(_BigGANFamily):
    """(z [N, z_dim], class) -> picture; the whole of z goes into every block."""

    family = "biggan-deep"

    def __init__(self, config: BigGANConfig) -> None:
        check_widths(config.resolution, config.channels, blocks=2)
        if not config.embed_dim or not config.hierarchical:
            raise ValueError("embed_dim and hierarchical: BigGAN-deep needs a class embedding and z in every block")
        condition = config.embed_dim + config.z_dim
        super().__init__(config, condition)
        for i, (channels, out) in enumerate(itertools.pairwise(config.channels)):
            widths = (channels, channels // 4, channels // 4, channels // 4)
            up = i % 2 == 1
            self.blocks.append(BigGANDeepBlock(channels, out, up, [self._norm(c, condition) for c in widths]))
            if up and (size := STEM * 2 ** ((i + 1) // 2)) in config.attention:
                self.attention[str(size)] = Attention(out)

    def forward(self, z: Tensor, label: Tensor | None = None, *, truncation: float = 1.0) -> Tensor:
        condition = torch.cat([self._embedded(label), z * truncation], dim=1)
        return self._pictures(condition, [condition] * len(self.blocks), truncation)


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


@torch.no_grad()
def orthogonal_init(network: nn.Module) -> None:
    """Orthogonal weights for every convolution, fully connected layer and embedding (Brock et al. 2019, section 3)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.Embedding):
            nn.init.orthogonal_(module.weight)
