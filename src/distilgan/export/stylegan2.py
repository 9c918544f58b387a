"""StyleGAN2 in three files: the mapping network, the synthesis network, and the two joined."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from distilgan.export.graph import Part, to_graph
from distilgan.networks.stylegan2 import StyleGAN2


class _Mapping(nn.Module):
    def __init__(self, network: StyleGAN2) -> None:
        super().__init__()
        self.mapping, self.num_ws = network.mapping, network.config.num_ws

    def forward(self, z: Tensor, truncation: Tensor) -> Tensor:
        return self.styles(self.mapping(z), truncation)

    def styles(self, w: Tensor, truncation: Tensor) -> Tensor:
        w = self.mapping.w_avg + truncation * (w - self.mapping.w_avg)
        return w[:, None].expand(-1, self.num_ws, -1)


class _Synthesis(nn.Module):
    def __init__(self, network: StyleGAN2) -> None:
        super().__init__()
        self.synthesis = network.synthesis

    def forward(self, w: Tensor) -> Tensor:
        image: Tensor = self.synthesis(w, "const", "activations")[0]
        return image


class _ConditionalMapping(_Mapping):
    def forward(self, z: Tensor, label: Tensor, truncation: Tensor) -> Tensor:  # type: ignore[override]
        return self.styles(self.mapping(z, label), truncation)


def parts(network: StyleGAN2, facts: dict[str, Any]) -> dict[str, Part]:
    """model.onnx, mapping.onnx and synthesis.onnx; adds what they take to `facts`."""
    import onnx.compose

    c = network.config
    facts["inputs"] |= {
        "truncation": {"shape": [1], "range": "[0, 1]; 1 draws from everything"},
        "w": {"shape": ["batch", c.num_ws, c.w_dim], "range": "output of mapping.onnx"},
    }
    facts["noise"] = "stored fields, baked in"
    drawn = {"z": torch.randn(2, c.z_dim)}
    if c.label_dim:
        drawn["label"] = torch.arange(2) % c.label_dim
    drawn["truncation"] = torch.ones(1)
    mapping = (_ConditionalMapping if c.label_dim else _Mapping)(network).eval()
    synthesis = _Synthesis(network).eval()
    first = to_graph(mapping, drawn, "w")
    second = to_graph(synthesis, {"w": torch.randn(2, c.num_ws, c.w_dim)}, "image")
    joined = onnx.compose.merge_models(first, second, io_map=[("w", "w")], prefix1="mapping_", prefix2="synthesis_")
    _rename(joined, {**{f"mapping_{name}": name for name in drawn}, "synthesis_image": "image"})
    return {
        "model.onnx": Part(joined, lambda **inputs: synthesis(mapping(**inputs))),
        "mapping.onnx": Part(first, mapping),
        "synthesis.onnx": Part(second, synthesis),
    }


def _rename(model: Any, names: dict[str, str]) -> None:
    """Give inputs and outputs back the names that merging prefixed."""
    for value in [*model.graph.input, *model.graph.output]:
        value.name = names.get(value.name, value.name)
    for node in model.graph.node:
        node.input[:] = [names.get(x, x) for x in node.input]
        node.output[:] = [names.get(x, x) for x in node.output]
