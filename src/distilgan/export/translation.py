"""Translators as files, for pictures of any size."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from distilgan.evaluation.cost import count_macs
from distilgan.evaluation.translation.translators import COST_SIZE
from distilgan.export.graph import Layout, Part, to_graph
from distilgan.networks.ode_translator import ODETranslator
from distilgan.networks.resnet_translator import ResnetTranslator


def layout(network: ResnetTranslator) -> Layout:
    """model.onnx: a picture in, its translation out.

    Raises:
        ValueError: a solver that adapts its steps, which no graph can.
    """
    c = network.config
    if isinstance(network, ODETranslator) and network.config.solver == "dopri5":
        raise ValueError("dopri5 takes as many steps as a picture asks for, which a graph cannot")
    shape = ["batch", 3, "height", "width"]
    sides = f"height and width: multiples of {c.multiple}, from {4 * c.multiple} on"
    facts: dict[str, Any] = {
        "inputs": {"image": {"shape": shape, "range": "[-1, 1], RGB", "sides": sides}},
        "outputs": {"translated": {"shape": shape, "range": "[-1, 1]"}},
    }

    def draw(n: int, generator: torch.Generator) -> dict[str, Tensor]:
        side = 4 * c.multiple
        size = (side * (1 + n % 2), side * 2)  # not square, and not always the same
        return {"image": torch.rand(n, 3, *size, generator=generator) * 2 - 1}

    def parts() -> dict[str, Part]:
        example = {"image": torch.zeros(2, 3, 8 * c.multiple, 12 * c.multiple)}
        sides = {2: c.multiple * torch.export.Dim("rows", min=4), 3: c.multiple * torch.export.Dim("columns", min=4)}
        graph = to_graph(network, example, "translated", {"image": sides})
        return {"model.onnx": Part(graph, network, draw)}

    side = -(-COST_SIZE // c.multiple) * c.multiple
    macs = count_macs(network, image=torch.zeros(1, 3, side, side))
    return Layout(facts, {"multiple": c.multiple, "resolution": c.resolution, "macs": macs}, parts)
