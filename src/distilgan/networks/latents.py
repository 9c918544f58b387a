"""Where a generator's latents come from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Distribution = Literal["normal", "truncated_normal", "uniform"]
BOUND = 2.0
"""Deviations at which the truncated normal is cut, as in the released BigGANs."""


@dataclass(frozen=True)
class LatentSpec:
    """Shape and distribution of one latent; a vector [D], or an image [C, H, W] as diffusion samplers start from.

    Args:
        distribution: `normal` N(0, 1); `truncated_normal` N(0, 1) within ±2, by redrawing; `uniform` U[0, 1).
    """

    shape: list[int]
    distribution: Distribution = "normal"

    def __post_init__(self) -> None:
        if len(self.shape) not in (1, 3) or min(self.shape) < 1:
            raise ValueError(f"shape={self.shape}: a latent is a vector [D] or an image [C, H, W]")

    def draw(self, n: int, generator: torch.Generator | None = None, device: torch.device | str = "cpu") -> Tensor:
        """`n` latents, float32 [n, *shape]; each takes the same amount of the generator's stream."""
        if self.distribution == "normal":
            return torch.randn(n, *self.shape, generator=generator, device=device)
        u = torch.rand(n, *self.shape, generator=generator, device=device)
        if self.distribution == "uniform":
            return u
        # The inverse distribution function, so that no number of redraws has to be guessed.
        mass = math.erf(BOUND / math.sqrt(2))
        z = math.sqrt(2) * torch.erfinv((2 * u.double() - 1) * mass)
        return z.float()

    @property
    def moments(self) -> tuple[float, float]:
        """Mean and variance of every number."""
        if self.distribution == "normal":
            return 0.0, 1.0
        if self.distribution == "uniform":
            return 0.5, 1 / 12
        density = math.exp(-(BOUND**2) / 2) / math.sqrt(2 * math.pi)
        return 0.0, 1 - 2 * BOUND * density / math.erf(BOUND / math.sqrt(2))

    @property
    def words(self) -> str:
        """For a person: `N(0, 1) within ±2, 128 numbers`."""
        names = {"normal": "N(0, 1)", "truncated_normal": f"N(0, 1) within ±{BOUND:g}", "uniform": "U[0, 1)"}
        return f"{names[self.distribution]}, {'x'.join(map(str, self.shape))} numbers"
