"""Instance normalisation whose statistics can be those of a larger picture than the one it is given.

A picture that does not fit into memory is translated tile by tile. Were each tile normalised by its own mean and variance, seams
would show; so the statistics are taken first, of the whole picture at a smaller size, and then held.
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
        held: mean and inverse deviation [N, C, 1, 1] that stand for every picture's own, of each time that a forward of the network
            comes by here: an ODE's solver does so several times; None: every picture's own.
        taking: hold the statistics of the pictures that come by.
    """

    def __init__(self) -> None:
        super().__init__()
        self.held: list[tuple[Tensor, Tensor]] | None = None
        self.taking = False
        self.turn = 0

    def forward(self, x: Tensor) -> Tensor:
        if self.taking:
            variance, mean = torch.var_mean(x.float(), (2, 3), correction=0, keepdim=True)
            self.held = [*(self.held or []), (mean, (variance + _EPS).rsqrt())]
        if self.held is None:
            normalised: Tensor = F.instance_norm(x, eps=_EPS)
            if normalised.requires_grad and not torch.compiler.is_exporting() and len(x) == 1:
                # Torch 2.13 reads a channels-last gradient of a single picture in the wrong order on CPUs.
                normalised.register_hook(Tensor.contiguous)  # type: ignore[no-untyped-call]
            return normalised
        mean, scale = self.held[-1 if self.taking else self.turn % len(self.held)]
        self.turn += not self.taking
        return ((x - mean) * scale).to(x.dtype)


@contextmanager
def taken_statistics(network: nn.Module) -> Iterator[None]:
    """For one forward, whose statistics stay until `release`."""
    release(network)
    norms = [m for m in network.modules() if isinstance(m, InstanceNorm)]
    for norm in norms:
        norm.taking = True
    try:
        yield
    finally:
        for norm in norms:
            norm.taking = False


def release(network: nn.Module) -> None:
    """Every picture has its own statistics again."""
    for module in network.modules():
        if isinstance(module, InstanceNorm):
            module.held, module.turn = None, 0
