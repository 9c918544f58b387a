"""What every generator of pictures from latents has in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from distilgan.networks.latents import LatentSpec
from distilgan.networks.pretrained import Pretrained


class ImageGenerator(Pretrained):
    """Latents (and classes) to pictures.

    `forward(z, label=None, *, truncation=1.0)` gives [N, 3, R, R], nominally in [-1, 1]. `z` [N, *latent.shape] is drawn
    from `latent`; `label` [N] holds class numbers, or [N, num_classes] weights of classes. `truncation` draws towards
    the mean: what it does is the family's own convention.
    """

    what = "a generator of pictures from latents"

    @property
    @abstractmethod
    def latent(self) -> LatentSpec:
        """What `z` is drawn from."""

    @property
    def num_classes(self) -> int:
        """0 for an unconditional generator."""
        return 0

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return 3, self.config.resolution, self.config.resolution

    def sample_inputs(self, n: int, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Draw `n` inputs of `forward`: z, then, for a conditional network, label [n] uniform over the classes."""
        inputs = {"z": self.latent.draw(n, generator)}
        if self.num_classes:
            inputs["label"] = torch.randint(self.num_classes, (n,), generator=generator)
        return inputs

    def check_truncation(self, truncation: float) -> None:
        """Raise ValueError when the network cannot be drawn from at this truncation."""

    def forward(self, z: Tensor, label: Tensor | None = None, *, truncation: float = 1.0) -> Any:
        raise NotImplementedError


def class_weights(label: Tensor | None, num_classes: int) -> Tensor:
    """Class numbers [N] or weights [N, num_classes] as float weights [N, num_classes].

    Raises:
        ValueError: missing, or of another shape.
    """
    if label is None:
        raise ValueError("this network is class-conditional: label is missing")
    if label.dim() == 1 and not label.is_floating_point():
        return F.one_hot(label.long(), num_classes).float()
    if label.dim() != 2 or label.shape[1] != num_classes:
        raise ValueError(
            f"label has shape {list(label.shape)}; expected [N] class numbers or [N, {num_classes}] weights"
        )
    return label.float()
