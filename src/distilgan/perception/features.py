"""Feature extractors for FID, KID and precision/recall: 8-bit pictures in, one vector a picture out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distilgan.errors import UserError
from distilgan.files import file_sha256


@dataclass(frozen=True)
class Extractor:
    """A frozen network with the pre-processing that belongs to it.

    Attributes:
        name: short name, part of every metric's name.
        resize: brings pictures of another size to `resolution`; `resize_name` says how, in words.
        weights: SHA-256 of the weight file.
    """

    name: str
    network: nn.Module
    resolution: int
    resize: Callable[[Tensor, int], Tensor]
    resize_name: str
    weights: str

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 [N, 3, H, W] -> float32 [N, D]."""
        x = pixels.to(next(self.network.parameters()).device).float()
        if x.shape[2:] != (self.resolution, self.resolution):
            x = self.resize(x, self.resolution)
        features: Tensor = self.network(x / 127.5 - 1)
        return features.float().cpu()


def build_extractor(spec: str, device: str = "cpu") -> Extractor:
    """`efficientnet-lite0` (packaged), or `inception:PATH` to the FID Inception weight file.

    Raises:
        UserError: unknown name, missing or unfit file.
    """
    if spec == "efficientnet-lite0":
        from distilgan.perception.efficientnet import EfficientNetLite0, load_efficientnet_lite0, weights_path

        network: nn.Module = load_efficientnet_lite0().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        size = EfficientNetLite0.resolution
        return Extractor(
            "efficientnet", network, size, resize_antialiased, "bilinear, antialiased", file_sha256(weights_path())
        )
    if spec.startswith("inception:"):
        from distilgan.perception.inception import load_fid_inception, resize_tf1

        path = Path(spec.removeprefix("inception:"))
        network = load_fid_inception(path).to(device)
        return Extractor("inception", network, 299, resize_tf1, "bilinear as in TensorFlow 1", file_sha256(path))
    raise UserError(f"extractor {spec!r} is unknown; known: efficientnet-lite0, inception:PATH")


def resize_antialiased(pixels: Tensor, size: int) -> Tensor:
    """[N, C, H, W] to [N, C, size, size]."""
    return F.interpolate(pixels, (size, size), mode="bilinear", align_corners=False, antialias=True)
