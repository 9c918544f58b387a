"""The random numbers of one training step, as a pure function of (seed, images seen).

Each process draws for the whole global batch and keeps its share, so that neither the number of processes nor gradient
accumulation changes what any sample sees, and a resumed run draws what an uninterrupted one would have drawn.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from distilgan.networks.latents import LatentSpec


def initialisation_seed(seed: int) -> int:
    """The seed of a run's first weights.

    It must not be `seed` itself. Latents that anyone draws from a generator seeded alike would be the rows of the first
    weight matrix drawn, each would excite one unit of the mapping network far beyond the usual, and because a mapping
    network moves little in training they would still do so at its end, in the teacher and in every student of it.
    """
    # A spawn key and not [seed]: numpy pads with zeros, so [seed] is the stream of `Draws(seed, 0)`.
    return int(np.random.SeedSequence(seed, spawn_key=(0,)).generate_state(1, np.uint64)[0] >> 1)


class Draws:
    """Random numbers for share `part` of `parts` of a batch of `batch` samples."""

    def __init__(
        self, seed: int, images: int, batch: int, *, part: int = 0, parts: int = 1, device: torch.device | str = "cpu"
    ) -> None:
        words = np.random.SeedSequence([seed, images]).generate_state(2, np.uint64)
        self._generator = torch.Generator(device).manual_seed(int(words[0] >> 1))
        self._shared = np.random.default_rng(int(words[1]))
        self.batch, self.part, self.parts, self.device = batch, part, parts, torch.device(device)
        self.images = images

    @property
    def count(self) -> int:
        """Samples in this share."""
        return self.count_below(self.batch)

    def count_below(self, limit: int) -> int:
        """Samples in this share whose number in the whole batch is below `limit`; they are its first ones."""
        return len(range(self.part, limit, self.parts))

    def normal(self, *shape: int) -> Tensor:
        """N(0, 1), [count, *shape]."""
        return self._share(torch.randn(self.batch, *shape, generator=self._generator, device=self.device))

    def uniform(self, *shape: int) -> Tensor:
        """U[0, 1), [count, *shape]."""
        return self._share(torch.rand(self.batch, *shape, generator=self._generator, device=self.device))

    def latents(self, spec: LatentSpec) -> Tensor:
        """Latents, [count, *spec.shape]."""
        return self._share(spec.draw(self.batch, self._generator, self.device))

    def integers(self, high: int) -> Tensor:
        """Uniform integers in [0, high), [count]."""
        return self._share(torch.randint(high, (self.batch,), generator=self._generator, device=self.device))

    def _share(self, whole: Tensor) -> Tensor:
        """A tensor of its own: a view would keep the whole batch in memory."""
        return whole[self.part :: self.parts].clone()

    def shared_uniform(self) -> float:
        """One number in [0, 1) that all shares agree on."""
        return float(self._shared.uniform())

    def shared_integer(self, low: int, high: int) -> int:
        """One integer in [low, high) that all shares agree on."""
        return int(self._shared.integers(low, high))

    def shared_order(self, count: int) -> Tensor:
        """A permutation of `count` numbers that all shares agree on."""
        return torch.from_numpy(self._shared.permutation(count)).to(self.device)
