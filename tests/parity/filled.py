"""Weights by formula, so that two implementations can be given the same ones without exchanging files."""

from __future__ import annotations

import zlib

import torch
from torch import Tensor


def fill(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Each float tensor replaced by numbers made from its indices and name; filters and noise strengths keep useful sizes."""
    new = {}
    for name, value in state.items():
        if name.endswith("resample_filter"):
            new[name] = value
            continue
        phase = zlib.crc32(name.encode()) % 1000
        wave = _scrambled(value.numel(), phase)
        scale = 100.0 if name.startswith("mapping.fc") and name.endswith("weight") else 1.0
        if name.endswith("noise_strength"):
            scale = 0.1
        new[name] = (wave * scale).reshape(value.shape).to(value.dtype)
    return new


def latents(n: int, size: int) -> Tensor:
    return _scrambled(n * size, 7).reshape(n, size).float()


def _scrambled(count: int, phase: int) -> Tensor:
    """Numbers of unit deviation without visible order: the fraction of a large sine."""
    wave = torch.sin(torch.arange(count, dtype=torch.float64) * 12.9898 + phase) * 43758.5453
    return (wave - wave.floor() - 0.5) * 12**0.5


def fill_convolutional(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Like `fill`, with convolutions that keep the size of activations and batch statistics that are positive."""
    new = {}
    for name, value in fill(state).items():
        if value.dim() == 4:
            value = value * (2 / value[0].numel()) ** 0.5
        elif name.endswith("running_var"):
            value = value.abs() + 0.5
        elif name.endswith("bn.weight"):
            value = 1 + 0.1 * value
        elif name.endswith("num_batches_tracked"):
            value = torch.zeros_like(value)
        else:
            value = 0.1 * value
        new[name] = value
    return new


def pictures(n: int, size: int) -> Tensor:
    """8-bit pictures with structure at several scales."""
    x = torch.arange(size, dtype=torch.float64) / size * 6.28
    index = torch.arange(n * 3, dtype=torch.float64).reshape(n, 3, 1, 1)
    waves = torch.sin((1 + index) * x[:, None] + index) * torch.cos((2 + index) * x + 2 * index)
    noise = latents(1, n * 3 * size * size).double().reshape(n, 3, size, size)
    return (127.5 + 80 * waves + 15 * noise).clamp(0, 255).to(torch.uint8)


def fill_by_shape(shapes: dict[str, list[int]]) -> dict[str, Tensor]:
    """Tensors for a state dict known by its names and shapes: sensible statistics, weights that keep the size of activations,
    and for spectral normalisation the vectors that four power steps give."""
    new = {}
    for name, shape in shapes.items():
        value = _scrambled(max(1, int(torch.tensor(shape).prod()) if shape else 1), zlib.crc32(name.encode()) % 1000)
        value = value.reshape(shape).float()
        if name.endswith(("running_var", "running_vars", "stored_var")):
            value = value.abs() + 0.5
        elif name.endswith(("sv0", "num_batches_tracked", "gamma", "sigma")):
            value = torch.ones(shape)
        elif value.dim() == 4:
            value = value * (2 / value[0].numel()) ** 0.5
        elif value.dim() == 2 and not name.endswith(("means", "u0")):
            value = value * 0.3
        else:
            value = value * 0.1
        new[name] = value
    for name in shapes:
        if name.endswith(("weight_u", "u0")):
            suffix = "weight_u" if name.endswith("weight_u") else "u0"
            layer = name.removesuffix(suffix)
            matrix = new[f"{layer}weight_orig" if suffix == "weight_u" else f"{layer}weight"].flatten(1)
            u = torch.ones(len(matrix))
            for _ in range(4):
                v = torch.nn.functional.normalize(u @ matrix, dim=0)
                u = torch.nn.functional.normalize(matrix @ v, dim=0)
            new[name] = u.reshape(shapes[name])
            if f"{layer}weight_v" in shapes:
                new[f"{layer}weight_v"] = v
    return new
