"""Resampling against its definition: insert zeros, convolve, keep every second pixel; exact up to float32 rounding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from distilgan.networks.resample import TAPS, blur, downsample2, fir_kernel, upsample2


def by_definition(x: Tensor, up: int, down: int, pads: tuple[int, int], gain: float) -> Tensor:
    """upfirdn in float64 with numpy, one channel at a time."""
    n, c, h, w = x.shape
    taps = np.outer(TAPS, TAPS) / np.sum(TAPS) ** 2 * gain
    low, high = pads
    out = []
    for plane in x.double().reshape(-1, h, w).numpy():
        stuffed = np.zeros((h * up, w * up))
        stuffed[::up, ::up] = plane
        padded = np.pad(stuffed, (low, high))
        size_y, size_x = padded.shape[0] - 3, padded.shape[1] - 3
        result = np.zeros((size_y, size_x))
        for i in range(4):
            for j in range(4):
                result += taps[i, j] * padded[i : i + size_y, j : j + size_x]
        out.append(result[::down, ::down])
    return torch.tensor(np.stack(out)).reshape(n, c, *out[0].shape)


@pytest.mark.parametrize("size", [4, 7, 16])
def test_upsample(size: int) -> None:
    x = torch.randn(2, 3, size, size + 1)
    expected = by_definition(x, up=2, down=1, pads=(2, 1), gain=4)
    torch.testing.assert_close(upsample2(x).double(), expected, atol=1e-6, rtol=1e-6)


def test_downsample() -> None:
    x = torch.randn(2, 3, 16, 8)
    expected = by_definition(x, up=1, down=2, pads=(1, 1), gain=1)
    torch.testing.assert_close(downsample2(x, fir_kernel()).double(), expected, atol=1e-6, rtol=1e-6)


def test_blur_keeps_a_constant_inside() -> None:
    y = blur(torch.ones(1, 2, 10, 10), fir_kernel(), pad=2)
    assert y.shape == (1, 2, 11, 11)
    torch.testing.assert_close(y[:, :, 3:-3, 3:-3], torch.ones(1, 2, 5, 5))
