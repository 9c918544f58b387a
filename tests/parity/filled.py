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
