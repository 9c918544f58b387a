"""A small network that tells people apart: a face, from any side, to a direction that stands for the person."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distilgan.networks.conditional import AffineBatchNorm, StatisticsRow, check_halvings, check_positive
from distilgan.networks.layers import full_precision
from distilgan.networks.pretrained import Pretrained


@dataclass(frozen=True)
class IdentityConfig:
    """Everything that fixes the architecture.

    Args:
        resolution: of the faces. channels: widths of the stages, each of which halves the size and ends with a residual block.
        embedding: length of the direction. identities: people that it learnt to tell apart; 0: the head was taken off.
    """

    resolution: int
    channels: list[int]
    embedding: int = 128
    identities: int = 0

    def __post_init__(self) -> None:
        check_halvings(self.resolution, self.channels)
        check_positive(self, "embedding")


_ROW = StatisticsRow()


class NormalisedConvolution(nn.Module):
    """3x3 convolution and batch normalisation."""

    def __init__(self, channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, out_channels, 3, stride, 1, bias=False)
        self.norm = AffineBatchNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.convolution(x), _ROW)
        return y


class IdentityBlock(nn.Module):
    """Halves the size, then a residual block of two convolutions."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.down = NormalisedConvolution(channels, out_channels, 2)
        self.first = NormalisedConvolution(out_channels, out_channels)
        self.second = NormalisedConvolution(out_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.down(x))
        return F.relu(x + self.second(F.relu(self.first(x))))


class IdentityNetwork(Pretrained):
    """Faces [N, 3, R, R] in [-1, 1] -> unit vectors [N, embedding]; with `full` also cosines with the people it knows [N, K]."""

    family = "identity"
    what = "a network that tells people apart"
    config_class = IdentityConfig
    config: IdentityConfig

    def __init__(self, config: IdentityConfig) -> None:
        super().__init__()
        self.config = c = config
        self.stages = nn.Sequential(*(IdentityBlock(a, b) for a, b in itertools.pairwise([3, *c.channels])))
        side = c.resolution // 2 ** len(c.channels)
        self.embed = nn.Linear(c.channels[-1] * side**2, c.embedding)
        self.norm = AffineBatchNorm(c.embedding)
        self.people = nn.Linear(c.embedding, c.identities, bias=False) if c.identities else None

    def sample_inputs(self, n: int, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Uniform noise for faces."""
        size = self.config.resolution
        return {"image": torch.rand(n, 3, size, size, generator=generator) * 2 - 1}

    def forward(self, image: Tensor, *, full: bool = False) -> Any:
        found = self.embed(self.stages(image).flatten(1))
        direction = F.normalize(self.norm(found[:, :, None, None], _ROW).flatten(1).float(), dim=1)
        if not full:
            return direction
        assert self.people is not None
        with full_precision(direction):  # the margin is a few hundredths of a cosine
            return direction, F.linear(direction, F.normalize(self.people.weight.float(), dim=1))
