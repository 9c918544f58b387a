"""Generators of pictures from latents as files."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from distilgan.errors import UserError
from distilgan.export import single, stylegan2
from distilgan.export.graph import Layout, Part
from distilgan.networks.generator import ImageGenerator
from distilgan.networks.stylegan2 import StyleGAN2


def layout(network: ImageGenerator, truncation: float) -> Layout:
    """model.onnx, of a StyleGAN2 also mapping.onnx and synthesis.onnx.

    Raises:
        UserError: a truncation that the network has no statistics for or takes as an input.
    """
    try:
        network.check_truncation(truncation)
    except ValueError as error:
        raise UserError(str(error)) from error
    bakes = single.bakes_truncation(network)
    if truncation != 1 and not bakes:
        raise UserError(f"--truncation {truncation:g}: model.onnx takes it as an input; leave the option out")
    span = "[-1, 1] and a little beyond; clip" if isinstance(network, StyleGAN2) else "[-1, 1]"
    facts: dict[str, Any] = {
        "inputs": describe_inputs(network),
        "outputs": {"image": {"shape": ["batch", *network.image_shape], "range": span}},
    }
    stored: dict[str, Any] = {"latent": json.dumps(asdict(network.latent)), "num_classes": network.num_classes}
    if bakes:
        facts["truncation"] = stored["truncation"] = truncation

    def parts() -> dict[str, Part]:
        if isinstance(network, StyleGAN2):
            return stylegan2.parts(network, facts)
        return single.parts(network, facts, truncation)

    return Layout(facts, stored, parts)


def describe_inputs(network: ImageGenerator) -> dict[str, Any]:
    """Shapes and ranges of the inputs that every family has."""
    found: dict[str, Any] = {"z": {"shape": ["batch", *network.latent.shape], "range": network.latent.words}}
    if network.num_classes:
        found["label"] = {"shape": ["batch"], "type": "int64", "range": f"0 to {network.num_classes - 1}"}
    return found
