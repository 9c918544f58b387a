"""What every generator of pictures from pictures has in common."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from distilgan.networks.pretrained import Pretrained


class Translator(Pretrained):
    """Pictures [N, 3, R, R] in [-1, 1] to pictures of the same size, nominally in [-1, 1]."""

    what = "a translator of pictures"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return 3, self.config.resolution, self.config.resolution

    @abstractmethod
    def sample_inputs(self, n: int, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Draw `n` inputs of `forward`: noise for pictures, as no translator knows what photographs look like."""
