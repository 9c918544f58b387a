"""DiffAugment: the same random, differentiable changes in front of the discriminator for real and generated pictures.

Source: Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training", NeurIPS 2020, section 4 and appendix.
Written from the paper: brightness ±0.5, saturation × [0, 2], contrast × [0.5, 1.5]; shift by up to 1/8 of the size, zeros
enter; a square of half the size set to zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

DRAWS = 7
"""Uniform numbers that one picture needs."""


def diffaugment(images: Tensor, kinds: Sequence[str], uniform: Tensor) -> Tensor:
    """Change each picture of [N, 3, H, W] by the draws `uniform` [N, 7] in [0, 1)."""
    for kind in kinds:
        images = _KINDS[kind](images, uniform)
    return images


def _color(x: Tensor, u: Tensor) -> Tensor:
    brightness, saturation, contrast = (u[:, i].to(x.dtype).reshape(-1, 1, 1, 1) for i in range(3))
    x = x + (brightness - 0.5)
    grey = x.mean(dim=1, keepdim=True)
    x = (x - grey) * (saturation * 2) + grey
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return (x - mean) * (contrast + 0.5) + mean


def _translation(x: Tensor, u: Tensor) -> Tensor:
    n, _, h, w = x.shape
    down = _integer(u[:, 3], -(h // 8), h // 8)
    right = _integer(u[:, 4], -(w // 8), w // 8)
    rows = torch.arange(h, device=x.device)[None] - down[:, None]  # where each output row comes from
    columns = torch.arange(w, device=x.device)[None] - right[:, None]
    inside = ((rows >= 0) & (rows < h))[:, None, :, None] & ((columns >= 0) & (columns < w))[:, None, None, :]
    sample = torch.arange(n, device=x.device)[:, None, None]
    moved = x.permute(0, 2, 3, 1)[sample, rows.clamp(0, h - 1)[:, :, None], columns.clamp(0, w - 1)[:, None, :]]
    return moved.permute(0, 3, 1, 2) * inside.to(x.dtype)


def _cutout(x: Tensor, u: Tensor) -> Tensor:
    _, _, h, w = x.shape
    top = _integer(u[:, 5], 0, h) - h // 4  # the square's centre lies anywhere in the picture
    left = _integer(u[:, 6], 0, w) - w // 4
    rows = torch.arange(h, device=x.device)[None] - top[:, None]
    columns = torch.arange(w, device=x.device)[None] - left[:, None]
    hole = ((rows >= 0) & (rows < h // 2))[:, None, :, None] & ((columns >= 0) & (columns < w // 2))[:, None, None, :]
    return x * (~hole).to(x.dtype)


def _integer(u: Tensor, low: int, high: int) -> Tensor:
    """Uniform integers in [low, high]."""
    return (u * (high - low + 1)).floor().long().clamp(max=high - low) + low


_KINDS = {"color": _color, "translation": _translation, "cutout": _cutout}
