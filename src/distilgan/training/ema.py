"""The exponential moving average of a network's weights, with its half-life in images."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

N = TypeVar("N", bound=nn.Module)


_AVERAGED = ("running_mean", "running_var")


class EMA(Generic[N]):
    """Keeps an averaged copy of `network`.

    Args:
        half_life: images after which an old weight counts half.
        rampup: the half-life is at most this share of the images seen, so that early averages forget the start; None: off.
    """

    def __init__(self, network: N, half_life: int, rampup: float | None = None) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.half_life, self.rampup = half_life, rampup

    @torch.no_grad()
    def update(self, network: nn.Module, batch: int, images: int) -> None:
        """Average in the weights after a step of `batch` images, `images` seen before it.

        Stored moments of batch normalisation are averaged too, as they belong to the weights; other buffers are copied.
        """
        half_life = self.half_life if self.rampup is None else min(self.half_life, self.rampup * images)
        decay = 0.5 ** (batch / max(half_life, 1e-8))
        torch._foreach_lerp_(list(self.network.parameters()), list(network.parameters()), 1 - decay)
        for (name, mine), theirs in zip(self.network.named_buffers(), network.buffers(), strict=True):
            if name.endswith(_AVERAGED):
                mine.lerp_(theirs, 1 - decay)
            else:
                mine.copy_(theirs)
