"""FAMO: weights that let all losses fall at the same relative rate, learnt from how they fell in the last step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from distilgan.balancing.base import Balancer, Seen, Wants

_EPSILON = 1e-8


class FAMO(Balancer):
    """a_i = N c z_i / L_i, z = softmax(w), c = 1 / Σ_i (z_i / L_i): the gradient of Σ z_i log L_i, scaled to the sum N.

    The base weights cancel out: from the first step on each loss's share is 1 / N of what Σ log L_i asks for.

    After each step w moves by Adam against δ_i = log L_i(before) - log L_i(after): a loss that fell more than the others loses
    weight. The losses after it are those of the same batch.

    Args:
        decay: of w. As published 1e-3 in the paper, 1e-5 and 1e-2 in its code.
    Source: Liu et al., "FAMO: Fast Adaptive Multitask Optimization", NeurIPS 2023, algorithm 1.
    """

    def __init__(self, base: Mapping[str, float], lr: float, decay: float = 1e-3) -> None:
        super().__init__(base)
        self._w = torch.zeros(len(base), dtype=torch.float64, requires_grad=True)
        self._adam = torch.optim.Adam([self._w], lr=lr, weight_decay=decay)

    def weights(self, losses: Tensor) -> dict[str, float]:
        share = torch.softmax(self._w.detach(), 0) / (losses + _EPSILON)
        self.factors = len(self.base) * share / share.sum()
        return super().weights(losses)

    def wants(self, images: int) -> Wants:
        return Wants(after=True)

    def move(self, seen: Seen) -> None:
        assert seen.after is not None
        delta = (seen.losses + _EPSILON).log() - (seen.after + _EPSILON).log()
        z = torch.softmax(self._w.detach(), 0)
        self._w.grad = z * (delta - (z * delta).sum())  # Jᵀδ of the softmax
        self._adam.step()

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "w": self._w.detach(), "adam": self._adam.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._w.data.copy_(state["w"])
        self._adam.load_state_dict(state["adam"])
