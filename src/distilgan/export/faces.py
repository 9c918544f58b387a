"""Networks that look at faces as files."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from distilgan.export.graph import Layout, Part, to_graph
from distilgan.networks.identity import IdentityNetwork
from distilgan.networks.tpgan import TPGAN


class _Frontal(nn.Module):
    """Without noise."""

    def __init__(self, network: TPGAN) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, landmarks: Tensor) -> Tensor:
        frontal: Tensor = self.network(image, landmarks)
        return frontal


def layout(network: TPGAN | IdentityNetwork) -> Layout:
    """model.onnx: a face (and landmarks) in, the frontal face or a direction out."""
    size = network.config.resolution
    facts: dict[str, Any] = {
        "inputs": {"image": {"shape": ["batch", 3, size, size], "range": "[-1, 1], RGB, aligned"}},
        "outputs": {},
    }
    if isinstance(network, TPGAN):
        facts["inputs"]["landmarks"] = {
            "shape": ["batch", 5, 2],
            "range": f"0 to {size} px: (x, y) of eyes, nose tip, mouth corners, each pair from left to right",
        }
        facts["outputs"]["frontal"] = {"shape": ["batch", 3, size, size], "range": "[-1, 1] and a little beyond; clip"}
    else:
        facts["outputs"]["direction"] = {"shape": ["batch", network.config.embedding], "range": "unit vectors"}

    def parts() -> dict[str, Part]:
        module = _Frontal(network).eval() if isinstance(network, TPGAN) else network
        (output,) = facts["outputs"]

        def draw(n: int, generator: torch.Generator) -> dict[str, Tensor]:
            return network.sample_inputs(n, generator)

        return {"model.onnx": Part(to_graph(module, network.sample_inputs(2), output), module, draw)}

    return Layout(facts, {}, parts)
