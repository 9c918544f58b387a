"""Which channels of a teacher matter: one score for every output channel of the constant and of each 3x3 convolution.

A channel is scored where it is consumed: by the convolution that follows it, the last one by the last ToRGB.

- `l1`: Σ |W| over the consuming weights (magnitude pruning).
- `cagc`: mean |∂L/∂W| of L = |G(z) - noisy G(z)|₁ with salt-and-pepper noise on 5 % of the pixels (Liu et al., "Content-Aware
  GAN Compression", CVPR 2021, section 3.2; no face parser here, so the noise falls on the whole picture).
- `dcp`: how much mean |∂L/∂W| of L = |G(w) - G(w + α d)|₁ varies over principal directions d of w (Chung et al.,
  "Diversity-aware Channel Pruning for StyleGAN Compression", CVPR 2024, section 3.2). α = 5 for w of 512 dimensions and
  grows with their square root. The moved picture is a constant, as described; the published code lets it take part.
- `random`: uniform.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from distilgan.networks.stylegan2 import StyleGAN2

_DIRECTIONS = 10
_NOISE = 0.05
_ALPHA = 5.0
_BATCH = 16


def channel_scores(teacher: StyleGAN2, kind: str, samples: int, seed: int) -> list[Tensor]:
    """Scores by the method `kind` (dcp, cagc, l1 or random) from `samples` latents; one [C] tensor an entry."""
    generator = torch.Generator().manual_seed(seed)
    if kind == "random":
        return [torch.rand(c, generator=generator) for c in teacher.config.channels]
    if kind == "l1":
        return [w.detach().abs().sum((0, 2, 3)) for w in _consumers(teacher)]
    weights = _consumers(teacher)
    before = [w.requires_grad for w in weights]
    for w in weights:
        w.requires_grad_(True)
    try:
        return _dcp(teacher, samples, generator) if kind == "dcp" else _cagc(teacher, samples, generator)
    finally:
        for w, flag in zip(weights, before, strict=True):
            w.requires_grad_(flag)


def _consumers(network: StyleGAN2) -> list[Tensor]:
    top = network.synthesis.block(network.config.resolution)
    return [*(layer.weight for _, layer in network.synthesis.layers()), top.torgb.weight]


def _weight_gradients(network: StyleGAN2, loss: Tensor) -> list[Tensor]:
    """mean |∂loss/∂W| for each input channel of each consuming weight."""
    return [g.abs().mean((0, 2, 3)) for g in torch.autograd.grad(loss, _consumers(network))]


def _batches(samples: int) -> list[int]:
    whole, rest = divmod(samples, _BATCH)
    return [_BATCH] * whole + ([rest] if rest else [])


def _cagc(teacher: StyleGAN2, samples: int, generator: torch.Generator) -> list[Tensor]:
    totals: list[Tensor] = []
    for n in _batches(samples):
        with torch.enable_grad():
            image = teacher(**_inputs(teacher, n, generator))
            shape = (n, 1, *image.shape[2:])
            hit = (torch.rand(shape, generator=generator) < _NOISE).to(image)
            salt = (torch.randint(2, shape, generator=generator) * 2 - 1).to(image)
            noisy = image * (1 - hit) + salt * hit
            gradients = _weight_gradients(teacher, (noisy.detach() - image).abs().sum())
        totals = [t + g for t, g in zip(totals, gradients, strict=True)] if totals else gradients
    return totals


def _dcp(teacher: StyleGAN2, samples: int, generator: torch.Generator) -> list[Tensor]:
    directions, share = _principal_directions(teacher, generator)
    alpha = _ALPHA * math.sqrt(teacher.config.w_dim / 512)
    totals: list[Tensor] = []
    for n in _batches(samples):
        inputs = _inputs(teacher, n, generator)
        chosen = torch.multinomial(share, _DIRECTIONS, replacement=True, generator=generator)
        gradients = []
        for direction in directions[chosen]:
            with torch.no_grad():
                moved = teacher(**inputs, offset=(alpha * direction).expand(n, -1))
            with torch.enable_grad():
                gradients.append(_weight_gradients(teacher, (moved - teacher(**inputs)).abs().sum()))
        spread = [torch.stack(layer).var(0, unbiased=False) for layer in zip(*gradients, strict=True)]
        totals = [t + s for t, s in zip(totals, spread, strict=True)] if totals else spread
    return totals


@torch.no_grad()
def _principal_directions(teacher: StyleGAN2, generator: torch.Generator, samples: int = 4096) -> tuple[Tensor, Tensor]:
    """Unit principal directions of w [w_dim, w_dim], one a row, and each one's share of the variance [w_dim] (on the CPU)."""
    device = teacher.mapping.w_avg.device
    inputs = {k: v.to(device) for k, v in teacher.sample_inputs(samples, generator).items()}
    w = teacher.mapping(**inputs)
    values, vectors = torch.linalg.eigh(torch.cov(w.t().double()))
    values = values.clamp(min=0)
    return vectors.t().float(), (values / values.sum()).float().cpu()


def _inputs(teacher: StyleGAN2, n: int, generator: torch.Generator) -> dict[str, Tensor]:
    return {k: v.to(teacher.mapping.w_avg.device) for k, v in teacher.sample_inputs(n, generator).items()}
