"""Dynamic weight averaging: the loss that fell least over the last epoch weighs more in the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from distilgan.balancing.base import Balancer, Seen


class DWA(Balancer):
    """a_i(t) = N softmax(r_i / T), r_i = L_i(t-1) / L_i(t-2) of the means over two epochs; 1 in the first two.

    Args:
        interval: images in an epoch. temperature: T.
    Source: Liu, Johns, Davison, "End-To-End Multi-Task Learning With Attention", CVPR 2019, equation 7.
    """

    def __init__(self, base: Mapping[str, float], interval: int, temperature: float = 2.0) -> None:
        super().__init__(base)
        self.interval, self.temperature = interval, temperature
        self._sum, self._steps, self._epoch = torch.zeros(len(base), dtype=torch.float64), 0, 0
        self._means: list[torch.Tensor] = []

    def move(self, seen: Seen) -> None:
        epoch = seen.images // self.interval
        if epoch > self._epoch and self._steps:
            self._means = [*self._means, self._sum / self._steps][-2:]
            self._sum, self._steps = torch.zeros_like(self._sum), 0
            if len(self._means) == 2:
                ratios = self._means[1] / self._means[0].clamp(min=1e-12)
                self.factors = len(self.base) * torch.softmax(ratios / self.temperature, 0)
        self._epoch = epoch
        self._sum, self._steps = self._sum + seen.losses, self._steps + 1

    def state_dict(self) -> dict[str, Any]:
        own = {"sum": self._sum, "steps": self._steps, "epoch": self._epoch, "means": self._means}
        return {**super().state_dict(), **own}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._sum, self._steps, self._epoch = state["sum"], state["steps"], state["epoch"]
        self._means = list(state["means"])
