"""Perceptual distance: how different two pictures look to a trained network."""

from __future__ import annotations

from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from distilgan.errors import UserError
from distilgan.perception.efficientnet import EfficientNetLite0, load_efficientnet_lite0


class FeatureDistance(nn.Module):
    """Σ_c (f̂ - f̂')² of channel-normalised feature maps, averaged over positions and stages; in [0, 4], 0 for equal pictures.

    LPIPS (Zhang et al. 2018, equation 1) with unit channel weights, on stages 0, 1, 2 and 4 of EfficientNet-Lite0.
    """

    name = "efficientnet-lite0"

    def __init__(self, network: EfficientNetLite0, stages: tuple[int, ...] = (0, 1, 2, 4)) -> None:
        super().__init__()
        self.network, self.stages = network, stages

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        total = first.new_zeros(first.shape[0])
        for a, b in zip(self.network.maps(first, self.stages), self.network.maps(second, self.stages), strict=True):
            difference = F.normalize(a.float(), dim=1) - F.normalize(b.float(), dim=1)
            total = total + difference.square().sum(1).mean((1, 2))
        return total / len(self.stages)


def build_perceptual(spec: str) -> nn.Module:
    """The distance named in a recipe: `efficientnet-lite0` or `lpips:PATH` to VGG16 weights.

    It takes two batches of pictures in [-1, 1], [N, 3, H, W], gives N distances, and has a `name`.

    Raises:
        UserError: unknown name, or no such file.
    """
    if spec == "efficientnet-lite0":
        return FeatureDistance(load_efficientnet_lite0())
    if spec.startswith("lpips:"):
        from distilgan.perception.lpips import load_lpips

        return load_lpips(Path(spec.removeprefix("lpips:")))
    raise UserError(f"perceptual={spec!r} is unknown; known: efficientnet-lite0, lpips:PATH")
