"""Uncertainty weighting: a loss that is hard to lower is trusted less."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from distilgan.balancing.base import Balancer, Seen


class Uncertainty(Balancer):
    """min over s of Σ_i ½ exp(-s_i) L_i + ½ s_i by Adam; a_i = exp(-s_i), twice the published factor, so that it starts at 1.

    The only balancer whose factors do not sum to N.

    Source: Kendall, Gal, Cipolla, "Multi-Task Learning Using Uncertainty to Weigh Losses", CVPR 2018, section 3.2, with
    s = log σ².
    """

    def __init__(self, base: Mapping[str, float], lr: float) -> None:
        super().__init__(base)
        self._s = torch.zeros(len(base), dtype=torch.float64, requires_grad=True)
        self._adam = torch.optim.Adam([self._s], lr=lr)

    def move(self, seen: Seen) -> None:
        self._s.grad = 0.5 - 0.5 * torch.exp(-self._s.detach()) * seen.losses
        self._adam.step()
        self.factors = torch.exp(-self._s.detach())

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "s": self._s.detach(), "adam": self._adam.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._s.data.copy_(state["s"])
        self._adam.load_state_dict(state["adam"])
