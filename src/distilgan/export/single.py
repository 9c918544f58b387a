"""A generator that is one piece: latent, class and truncation in, picture out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from distilgan.export.graph import Part, to_graph
from distilgan.networks.generator import ImageGenerator


class _Scaled(nn.Module):
    """Truncation as an input: it scales z."""

    def __init__(self, network: ImageGenerator) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: Tensor, label: Tensor, truncation: Tensor) -> Tensor:
        image: Tensor = self.network(z * truncation, label)
        return image


class _At(nn.Module):
    """One truncation, whose statistics are stored."""

    def __init__(self, network: ImageGenerator, truncation: float) -> None:
        super().__init__()
        self.network, self.truncation = network, truncation

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        image: Tensor = self.network(z, label, truncation=self.truncation)
        return image


def bakes_truncation(network: ImageGenerator) -> bool:
    """Whether a file of this network draws at one truncation only, as its statistics belong to it."""
    return getattr(network.config, "statistics", 1) > 1


def parts(network: ImageGenerator, facts: dict[str, Any], truncation: float) -> dict[str, Part]:
    """model.onnx."""
    inputs = {"z": network.latent.draw(2), "label": torch.arange(2) % network.num_classes}
    if bakes_truncation(network):
        module: nn.Module = _At(network, truncation).eval()
    else:
        inputs["truncation"] = torch.ones(1)
        facts["inputs"]["truncation"] = {"shape": [1], "range": "[0, 1]; scales z"}
        module = _Scaled(network).eval()
    return {"model.onnx": Part(to_graph(module, inputs, "image"), module)}
