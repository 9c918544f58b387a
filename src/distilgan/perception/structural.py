"""Structural similarity: how alike two pictures look, by a formula."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_WINDOW, _SIGMA, _K1, _K2 = 11, 1.5, 0.01, 0.03


def structural_similarity(first: Tensor, second: Tensor) -> Tensor:
    """SSIM of each picture, [N], in [-1, 1]; pictures [N, C, H, W] in [-1, 1].

    Gaussian window of 11 px (the largest odd one that fits into a smaller picture), sigma 1.5, K1 = 0.01, K2 = 0.03, for the
    pictures in [0, 1]; the mean over the positions where the window fits, and over channels, as in scikit-image with
    gaussian_weights=True, sigma=1.5, use_sample_covariance=False. Source: Wang et al., "Image Quality Assessment: From Error
    Visibility to Structural Similarity", 2004, equation 13.
    """
    x, y = (first.float() + 1) / 2, (second.float() + 1) / 2
    smallest = min(x.shape[2:])
    window = min(_WINDOW, smallest - 1 + smallest % 2)
    offsets = torch.arange(window, device=x.device, dtype=torch.float32) - window // 2
    taps = torch.exp(-(offsets**2) / (2 * _SIGMA**2))
    taps = taps / taps.sum()
    channels = x.shape[1]
    row, column = (taps.reshape(shape).expand(channels, *shape[1:]) for shape in ((1, 1, 1, -1), (1, 1, -1, 1)))

    def smooth(v: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(v, row, groups=channels), column, groups=channels)

    mx, my = smooth(x), smooth(y)
    vx, vy, both = smooth(x * x) - mx * mx, smooth(y * y) - my * my, smooth(x * y) - mx * my
    c1, c2 = _K1**2, _K2**2
    value: Tensor = ((2 * mx * my + c1) * (2 * both + c2)) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    return value.mean((1, 2, 3))
