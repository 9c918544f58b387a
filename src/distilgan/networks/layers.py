"""The layers that StyleGAN2's two networks are made of.

Source: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", 2020, section 2 and appendix B; the
parameter names and the order of operations are those of the official PyTorch networks, so their tensors load as they are.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distilgan.networks.resample import blur, downsample2, fir_kernel

SLOPE = 0.2
GAIN = math.sqrt(2.0)
"""The leaky ReLU halves the second moment; this gain restores it."""

Modulation = Literal["activations", "weights"]


def full_precision(x: Tensor) -> torch.autocast:
    """Context in which autocast is off: the small products that steer a whole picture stay in float32."""
    return torch.autocast(x.device.type, enabled=False)


def activate_(y: Tensor, clamp: float | None) -> Tensor:
    """Leaky ReLU, then clipping to ±clamp; overwrites `y`, whose gain √2 is already in it.

    Large new tensors cost more than the arithmetic on CPUs (fresh pages), hence in place wherever autograd allows it. Clipping
    is hardtanh and not clamp: the same values, and a backward pass of one kernel instead of four.
    """
    y = F.leaky_relu(y, SLOPE, inplace=True)
    return clip(y, clamp, inplace=not torch.is_grad_enabled())


def clip(x: Tensor, limit: float | None, inplace: bool = False) -> Tensor:
    """`x` within ±limit; None does not clip."""
    return x if limit is None else F.hardtanh(x, -limit, limit, inplace)


class Linear(nn.Module):
    """Fully connected layer with equalised learning rate: y = x Wᵀ lr/√in + b lr; always computed in float32.

    Args:
        activate: follow with leaky ReLU 0.2 and gain √2.
        lr: learning-rate multiplier; weights are stored divided by it.
        bias_init: initial bias (as stored; official StyleGAN2 does not divide it by `lr`).
    """

    def __init__(
        self, in_features: int, out_features: int, *, activate: bool = False, lr: float = 1.0, bias_init: float = 0.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr)
        self.bias = nn.Parameter(torch.full((out_features,), float(bias_init)))
        self.activate, self.lr, self.scale = activate, lr, lr / math.sqrt(in_features)

    def forward(self, x: Tensor) -> Tensor:
        with full_precision(x):
            # The input is scaled and not the weight: a batch is smaller.
            y = F.linear(x.float() * self.scale, self.weight, self.bias * self.lr)
            return F.leaky_relu(y, SLOPE) * GAIN if self.activate else y


class Conv2d(nn.Module):
    """Convolution of the discriminator, with equalised learning rate and optional blur + stride 2.

    Args:
        activate: follow with leaky ReLU and gain √2 · `gain`.
        gain: output gain; the clamp scales with it.
        clamp: clip the output to ±clamp·gain; None does not.
    """

    resample_filter: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, *,
        bias: bool = True, activate: bool = True, down: bool = False, gain: float = 1.0, clamp: float | None = 256.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.register_buffer("resample_filter", fir_kernel())
        self.scale = 1 / math.sqrt(in_channels * kernel**2)
        self.kernel, self.down, self.activate = kernel, down, activate
        self.gain, self.clamp = gain * (GAIN if activate else 1.0), None if clamp is None else clamp * gain

    def forward(self, x: Tensor) -> Tensor:
        # The leaky ReLU is positively homogeneous, so its gain is folded into weight and bias: one pass less over y.
        weight = self.weight * (self.scale * self.gain)
        bias = None if self.bias is None else (self.bias * self.gain)
        if self.down and self.kernel == 1:  # blur and decimate first: the 1x1 convolution commutes with both
            y = F.conv2d(downsample2(x, self.resample_filter), weight, bias)
        elif self.down:
            y = F.conv2d(blur(x, self.resample_filter, pad=2), weight, bias, stride=2)
        else:
            y = F.conv2d(x, weight, bias, padding=self.kernel // 2)
        return activate_(y, self.clamp) if self.activate else clip(y, self.clamp)


def modulated_conv2d(
    x: Tensor, weight: Tensor, styles: Tensor, *,
    demodulate: bool = True, up: bool = False, kernel: Tensor | None = None, form: Modulation = "activations",
    gain: float = 1.0, shift: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Convolution whose weights are scaled per sample: w'_oikk = s_i w_oikk, then w'' = w' / √(Σ_ik w'² + 1e-8).

    Two executions of the same function: `activations` scales the input by s, convolves with the shared weight and scales
    the output by the demodulation; `weights` makes one weight per sample and a grouped convolution.

    Args:
        x: [N, I, H, W]. weight: [O, I, k, k]. styles: [N, I].
        up: transposed convolution of stride 2 followed by the blur `kernel` with gain 4; the result is [N, O, 2H, 2W].
        gain: multiplies the result.
        shift: [O], added to the result, which is then a tensor of its own that may be overwritten.
    Source: Karras et al. 2020, equations 1 to 3.
    """
    n, out_channels, k = x.shape[0], weight.shape[0], weight.shape[2]
    demodulation = None
    if demodulate:
        with full_precision(x):
            energy = weight.float().flatten(2).square().sum(2)  # [O, I]
            demodulation = torch.rsqrt(styles.float().square() @ energy.t() + 1e-8) * gain  # [N, O]
    elif gain != 1.0:
        styles = styles * gain

    if form == "activations":
        y = _convolve(x * styles.to(x.dtype)[:, :, None, None], weight, up, groups=1, padding=k // 2)
    else:
        per_sample = weight[None] * styles[:, None, :, None, None]
        if demodulation is not None:
            per_sample = per_sample * demodulation[:, :, None, None, None]
        y = _convolve(x.reshape(1, -1, *x.shape[2:]), per_sample.flatten(0, 1), up, groups=n, padding=k // 2)
        y = y.reshape(n, out_channels, *y.shape[2:])
    if up:
        assert kernel is not None
        y = blur(y, kernel * 4, pad=1)
    offset = None if shift is None else shift.to(y.dtype)[None, :, None, None]
    if form == "activations" and demodulation is not None:
        factor = demodulation.to(y.dtype)[:, :, None, None]
        return y * factor if offset is None else torch.addcmul(offset, y, factor)
    return y if offset is None else y + offset


def _convolve(x: Tensor, weight: Tensor, up: bool, groups: int, padding: int) -> Tensor:
    if not up:
        return F.conv2d(x, weight, padding=padding, groups=groups)
    if groups == 1:
        return F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
    out_channels = weight.shape[0] // groups
    swapped = weight.reshape(groups, out_channels, *weight.shape[1:]).transpose(1, 2).flatten(0, 1)
    return F.conv_transpose2d(x, swapped, stride=2, groups=groups)


def deviation_group(samples: int, group: int) -> int:
    """The largest group of at most `group` samples that divides `samples`."""
    return max(g for g in range(1, min(group, samples) + 1) if samples % g == 0)


def minibatch_stddev(x: Tensor, group: int) -> Tensor:
    """Append one channel: the mean deviation of features within groups of `group` samples; [N, C, H, W] -> [N, C+1, H, W].

    Source: Karras et al., "Progressive Growing of GANs", 2018, section 3.
    """
    n, c, h, w = x.shape
    g = deviation_group(n, group)
    y = x.float().reshape(g, n // g, c, h, w)
    y = (y.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))  # [N/g]
    y = y.reshape(-1, 1, 1, 1).repeat(g, 1, h, w).to(x.dtype)
    return torch.cat([x, y], dim=1)
