"""A student that begins as its teacher: what can be copied is, what is separable is the nearest separable one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from distilgan.networks.ode_translator import ODEBlock, ODETranslator
from distilgan.networks.resnet_translator import ResnetTranslator


def nearest_blocks(student: int, teacher: int) -> dict[str, str]:
    """Which of the teacher's blocks each of the student's stands for, spread evenly: 4 of 9 are 1, 4, 6, 9."""
    if student == 1:
        return {"block1": f"block{(teacher + 1) // 2}"}
    places = [round(i * (teacher - 1) / (student - 1)) + 1 for i in range(student)]
    return {f"block{i + 1}": f"block{place}" for i, place in enumerate(places)}


@torch.no_grad()
def inherit(student: ODETranslator, teacher: ResnetTranslator) -> list[str]:
    """Copy encoder, decoder and blocks where the shapes agree; returns the names of what was copied."""
    copied = []
    mine, theirs = student.model, teacher.model
    for name, index in _ends(student).items():
        other = _ends(teacher).get(name)
        if other is not None and _same_shape(mine[index], theirs[other]):
            mine[index].load_state_dict(theirs[other].state_dict())
            copied.append(name)
    for block, source in nearest_blocks(student.config.blocks, teacher.config.blocks).items():
        own = mine[student.tap_index[block]]
        assert isinstance(own, ODEBlock)
        for i in ("1", "5"):
            old = theirs[teacher.tap_index[source]].get_submodule(f"conv_block.{i}")
            if _take(own.conv_block[int(i)], old):
                copied.append(f"{block}.{i}")
    return copied


def _ends(network: ResnetTranslator) -> dict[str, int]:
    """Convolutions outside the bottleneck, by how many come before them from their end."""
    blocks = [network.tap_index[f"block{i + 1}"] for i in range(network.config.blocks)]
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    found = [i for i, layer in enumerate(network.model) if isinstance(layer, kinds)]
    encoder = [i for i in found if i < min(blocks)]
    decoder = [i for i in found if i > max(blocks)]
    return {f"encoder{i}": x for i, x in enumerate(encoder)} | {f"decoder{i}": x for i, x in enumerate(decoder)}


def _same_shape(first: nn.Module, second: nn.Module) -> bool:
    shapes = [{k: v.shape for k, v in m.state_dict().items()} for m in (first, second)]
    return type(first) is type(second) and shapes[0] == shapes[1]


def _take(own: nn.Module, old: nn.Module) -> bool:
    """Weights of a 3x3 convolution, or of the depthwise and pointwise ones nearest to it; False if they cannot be had."""
    if _same_shape(own, old):
        own.load_state_dict(old.state_dict())
        return True
    if not isinstance(old, nn.Conv2d):  # already separable, of other widths
        return False
    if isinstance(own, nn.Conv2d):
        if own.out_channels != old.out_channels:
            return False
        shared = min(own.in_channels, old.in_channels)
        own.weight[:, :shared] = old.weight[:, :shared]
        own.weight[:, shared:] = 0  # the time changes nothing at first
        _take_bias(own, old)
        return True
    assert isinstance(own, nn.Sequential)
    depthwise, pointwise = own[0], own[1]
    assert isinstance(depthwise, nn.Conv2d)
    assert isinstance(pointwise, nn.Conv2d)
    if pointwise.out_channels != old.out_channels:
        return False
    shared = min(depthwise.in_channels, old.in_channels)
    spatial, mixing = separable(old.weight[:, :shared])
    depthwise.weight[:shared] = spatial[:, None]
    pointwise.weight.zero_()
    pointwise.weight[:, :shared] = mixing[:, :, None, None]
    if depthwise.bias is not None:
        depthwise.bias.zero_()
    _take_bias(pointwise, old)
    return True


def _take_bias(own: nn.Conv2d, old: nn.Conv2d) -> None:
    if own.bias is not None and old.bias is not None:
        own.bias.copy_(old.bias)


def separable(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Filters [I, k, k] and mixing [O, I] whose products are nearest, in squares, to a convolution's weight [O, I, k, k].

    For each input channel the first singular vectors of its [O, k²] matrix.
    """
    o, i, k, _ = weight.shape
    u, s, v = torch.linalg.svd(weight.permute(1, 0, 2, 3).reshape(i, o, k * k).double(), full_matrices=False)
    root = s[:, 0].sqrt()
    spatial = (v[:, 0] * root[:, None]).reshape(i, k, k)
    mixing = (u[:, :, 0] * root[:, None]).t()
    return spatial.to(weight.dtype), mixing.to(weight.dtype)
