"""Cutting channels out of a StyleGAN2: a thinner network that starts from chosen channels of a wider one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from distilgan.networks.stylegan2 import StyleGAN2


def thinned(channels: Sequence[int], keep: float) -> list[int]:
    """c - floor((1 - keep) c) for each width: the rule of CAGC and StyleKD (512 -> 154 at keep 0.3)."""
    return [max(1, c - int((1 - keep) * c + 1e-9)) for c in channels]


def best_channels(scores: Sequence[Tensor], channels: Sequence[int]) -> list[Tensor]:
    """Indices, in rising order, of the `channels[i]` highest scores of each entry."""
    return [torch.sort(torch.topk(s, c).indices).values for s, c in zip(scores, channels, strict=True)]


def copy_mapping(source: StyleGAN2, target: StyleGAN2) -> None:
    """Make the mapping network of `target` that of `source`, average w included."""
    target.mapping.load_state_dict(source.mapping.state_dict())


def copy_noise(source: StyleGAN2, target: StyleGAN2) -> None:
    """Give `target` the stored noise fields of `source`, so that pictures without drawn noise can be compared."""
    fields = dict(source.synthesis.layers())
    for name, layer in target.synthesis.layers():
        layer.noise_const.copy_(fields[name].noise_const)


@torch.no_grad()
def slice_generator(source: StyleGAN2, kept: Sequence[Tensor]) -> StyleGAN2:
    """The network that has, of each layer of `source`, the output channels `kept[i]`.

    Entries are those of `StyleGAN2Config.channels`: the constant, then every 3x3 convolution. A convolution keeps the rows
    of its outputs and the columns of its inputs; its style affine keeps the rows of its inputs; a ToRGB keeps its block's
    outputs. Mapping network, noise fields and strengths are copied.
    """
    target = StyleGAN2(replace(source.config, channels=[len(k) for k in kept]))
    state, new = source.state_dict(), {}
    layers = [name for name, _ in source.synthesis.layers()]
    inputs = {f"synthesis.{name}.": kept[i] for i, name in enumerate(layers)}
    outputs = {f"synthesis.{name}.": kept[i + 1] for i, name in enumerate(layers)}
    for name in layers:
        if name.endswith("conv1"):
            inputs[f"synthesis.{name.removesuffix('conv1')}torgb."] = outputs[f"synthesis.{name}."]
    for key, value in state.items():
        prefix = next((p for p in inputs if key.startswith(p)), None)
        if prefix is not None:
            part = key.removeprefix(prefix)
            if part in ("affine.weight", "affine.bias"):
                value = value[inputs[prefix]]
            elif part == "weight":
                value = value[:, inputs[prefix]]
                value = value[outputs[prefix]] if prefix in outputs else value
            elif part == "bias" and prefix in outputs:
                value = value[outputs[prefix]]
        elif key == "synthesis.b4.const":
            value = value[kept[0]]
        new[key] = value.clone()
    target.load_state_dict(new)
    return target
