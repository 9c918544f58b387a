"""How far a student's translation is from its teacher's, for any two translators."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def haar(image: Tensor) -> tuple[Tensor, Tensor]:
    """One level of the orthonormal Haar transform of [N, C, H, W], sides even: low band [N, C, h, w], high ones [N, 3, C, h, w]."""
    a, b = image[:, :, ::2, ::2], image[:, :, ::2, 1::2]
    c, d = image[:, :, 1::2, ::2], image[:, :, 1::2, 1::2]
    return (a + b + c + d) / 2, torch.stack([a - b + c - d, a + b - c - d, a - b - c + d], 1) / 2


def high_frequency_distance(student: Tensor, teacher: Tensor, levels: int = 3) -> Tensor:
    """mean over levels of mean |H_l(S) - H_l(T)|, H_l the three high bands of the l-th Haar level, in [0, ∞).

    Of [N, C, H, W] whose sides are multiples of 2^levels. Source: Zhang et al., "Wavelet Knowledge Distillation", CVPR 2022,
    equation 3 (bands of the output alone, no low one).
    """
    terms, s, t = [], student.float(), teacher.float()
    for _ in range(levels):
        (s, high_s), (t, high_t) = haar(s), haar(t)
        terms.append((high_s - high_t).abs().mean())
    return torch.stack(terms).mean()


def kernel_alignment(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - <XXᵀ, YYᵀ> / (‖XXᵀ‖ ‖YYᵀ‖), in [0, 1], X and Y features [N, C, H, W] as one row for each place of each picture.

    The widths may differ: no adapter. The rows are N H W, whose products need not be formed: <XXᵀ, YYᵀ> = ‖XᵀY‖². Source: Jin et
    al., "Teachers Do More Than Teach", CVPR 2021, equation 4.
    """
    x, y = (f.float().permute(0, 2, 3, 1).flatten(0, 2) for f in (student, teacher))
    both = (x.t() @ y).square().sum()
    norms = (x.t() @ x).norm() * (y.t() @ y).norm()
    distance: Tensor = 1 - both / norms.clamp(min=1e-12)
    return distance


def channel_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """mean (c(S) - c(T))², c the mean over positions of each channel of [N, C, H, W]; the student's have passed an adapter.

    Source: Ren et al., "Online Multi-Granularity Distillation for GAN Compression", ICCV 2021, equation 5.
    """
    return (student.float().mean((2, 3)) - teacher.float().mean((2, 3))).square().mean()


def content_distance(features: Tensor, target: Tensor) -> Tensor:
    """mean (f(G(x)) - f(x))² of a fixed network's features [N, C, H, W], in [0, ∞). Johnson et al. 2016, equation 2."""
    return F.mse_loss(features.float(), target.float().detach())
