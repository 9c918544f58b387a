"""Instance normalisation whose statistics can be those of a larger picture than the one it is given.

A picture that does not fit into memory is translated tile by tile. Were each tile normalised by its own mean and variance, seams
would show; so the statistics are taken first, of tiles that are spread over the whole picture and looked at together, and
then held.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_EPS = 1e-5


class InstanceNorm(nn.Module):
    """(x - mean) / √(variance + 1e-5) of each channel of each picture [N, C, H, W]; nothing to learn.

    Attributes:
        held: mean and inverse deviation [1, C, 1, 1] that stand for every picture's own, of each time that a forward of the network
            comes by here: an ODE's solver does so several times; None: every picture's own.
        pooling: take the statistics over the whole batch, and hold them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.held: list[tuple[Tensor, Tensor]] | None = None
        self.pooling = False
        self.turn = 0

    def forward(self, x: Tensor) -> Tensor:
        if self.pooling:
            variance, mean = torch.var_mean(x.float(), (0, 2, 3), correction=0, keepdim=True)
            self.held = [*(self.held or []), (mean, (variance + _EPS).rsqrt())]
        if self.held is None:
            normalised: Tensor = F.instance_norm(x, eps=_EPS)
            if normalised.requires_grad and not torch.compiler.is_exporting() and len(x) == 1:
                # Torch 2.13 reads a channels-last gradient of a single picture in the wrong order on CPUs.
                normalised.register_hook(Tensor.contiguous)  # type: ignore[no-untyped-call]
            return normalised
        mean, scale = self.held[-1 if self.pooling else self.turn % len(self.held)]
        self.turn += not self.pooling
        return ((x - mean) * scale).to(x.dtype)


@contextmanager
def pooled_statistics(network: nn.Module) -> Iterator[None]:
    """For one forward: inside, a batch is normalised as one picture; its statistics stay until `release`."""
    release(network)
    norms = [m for m in network.modules() if isinstance(m, InstanceNorm)]
    for norm in norms:
        norm.pooling = True
    try:
        yield
    finally:
        for norm in norms:
            norm.pooling = False


def release(network: nn.Module) -> None:
    """Every picture has its own statistics again."""
    for module in network.modules():
        if isinstance(module, InstanceNorm):
            module.held, module.turn = None, 0
