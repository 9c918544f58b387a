"""GradNorm: gradients of all losses are brought to one size, larger where a loss lags behind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from distilgan.balancing.base import Balancer, Seen, Wants

_LEAST = 1e-3  # factor below which a loss would be lost


class GradNorm(Balancer):
    """min over a of Σ_i |G_i - mean(G) r_i^α| by Adam, the targets held fixed; then a is scaled to the sum N.

    G_i = a_i ‖∇ b_i L_i‖ on the shared layers, r_i = (L_i / L_i(0)) / mean_j (L_j / L_j(0)).

    Args:
        alpha: α. every: gradients are looked at every so many steps; 1 as published.
    Source: Chen et al., "GradNorm: Gradient Normalization for Adaptive Loss Balancing", ICML 2018, equations 1 and 2.
    """

    def __init__(self, base: Mapping[str, float], lr: float, alpha: float = 1.5, every: int = 1) -> None:
        super().__init__(base)
        self.alpha, self.every = alpha, every
        self._a = torch.ones(len(base), dtype=torch.float64, requires_grad=True)
        self._adam = torch.optim.Adam([self._a], lr=lr)
        self._first: Tensor | None = None
        self._signals: dict[str, list[float]] = {}

    def wants(self, images: int) -> Wants:
        return Wants(norms=self.moves % self.every == 0)

    def move(self, seen: Seen) -> None:
        if seen.norms is None:
            return
        if self._first is None:
            self._first = seen.losses.clamp(min=1e-12)
        ratios = seen.losses / self._first
        sizes = self._a.detach() * seen.norms
        target = sizes.mean() * (ratios / ratios.mean().clamp(min=1e-12)) ** self.alpha
        self._a.grad = torch.sign(sizes - target) * seen.norms
        self._adam.step()
        with torch.no_grad():
            self._a.clamp_(min=_LEAST)
            self._a.mul_(len(self.base) / self._a.sum())
        self.factors = self._a.detach().clone()
        relative = seen.norms / seen.norms.mean().clamp(min=1e-12)
        self._signals = {"loss": ratios.log().tolist(), "gradient": relative.clamp(min=1e-12).log().tolist()}

    def signals(self) -> dict[str, list[float]]:
        return self._signals

    def state_dict(self) -> dict[str, Any]:
        own = {"a": self._a.detach(), "adam": self._adam.state_dict(), "first": self._first, "signals": self._signals}
        return {**super().state_dict(), **own}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._a.data.copy_(state["a"])
        self._adam.load_state_dict(state["adam"])
        self._first, self._signals = state["first"], state["signals"]
