"""The two pathways of TP-GAN's generator: one looks at the whole face, four look at an eye, an eye, the nose, the mouth.

Source: Huang et al., "Beyond Face Rotation: Global and Local Perception GAN", ICCV 2017, section 3.1; layer by layer as in the
MIT-licensed PyTorch port `iwtw/pytorch-TP-GAN`, without its batch normalisation, which it leaves off. Three differences:
fused features are those after a local pathway's last residual block (as in the paper's code), gradients pass the smallest picture
on its way to the next size (the port detaches it), and every width is free.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.01
_SAME_SIZE = (1, 0, 1, 0)  # around a 2x2 convolution: one more column on the left, one more row at the top


class GlobalOutput(NamedTuple):
    """What the global pathway makes of a face; R is the resolution."""

    image: Tensor  # [N, 3, R, R]
    half: Tensor  # [N, 3, R/2, R/2]
    quarter: Tensor  # [N, 3, R/4, R/4]
    code: Tensor  # [N, 256], the bottleneck that stands for the identity
    features: dict[str, Tensor]  # conv1 .. conv4, of the encoder


class LocalOutput(NamedTuple):
    """What a local pathway makes of a patch of h x w pixels."""

    image: Tensor  # [N, 3, h, w]
    fused: Tensor  # [N, F, h, w]
    features: dict[str, Tensor]  # conv1 .. conv3


class Convolution(nn.Sequential):
    """k x k convolution that keeps the size, or halves it with stride 2; leaky ReLU after it."""

    def __init__(self, channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        convolution = nn.Conv2d(channels, out_channels, kernel, stride, (kernel - 1) // 2)
        nn.init.kaiming_normal_(convolution.weight, a=SLOPE)
        super().__init__(convolution, nn.LeakyReLU(SLOPE, inplace=True))


class Residual(nn.Module):
    """x + two k x k convolutions, leaky ReLU between and after; even kernels reflect the border on two sides."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.pad = nn.Identity() if kernel % 2 else nn.ReflectionPad2d(_SAME_SIZE)
        padding = kernel // 2 if kernel % 2 else 0
        self.first = nn.Conv2d(channels, channels, kernel, padding=padding)
        self.second = nn.Conv2d(channels, channels, kernel, padding=padding)
        nn.init.kaiming_normal_(self.first.weight, a=SLOPE)
        nn.init.zeros_(
            self.second.weight
        )  # a block begins as nothing, or a deep stack without normalisation learns slowly

    def forward(self, x: Tensor) -> Tensor:
        y = F.leaky_relu(self.first(self.pad(x)), SLOPE, inplace=True)
        return F.leaky_relu(self.second(self.pad(y)) + x, SLOPE, inplace=True)


class Enlarge(nn.Module):
    """3x3 transposed convolution to `size`, then ReLU; by default twice the size.

    Twice the size begins as bilinear enlargement of mixed channels: with random weights every second pixel would be the sum of more
    products than its neighbours, a chequered pattern that training takes long to unlearn.
    """

    def __init__(self, channels: int, out_channels: int, stride: int = 2) -> None:
        super().__init__()
        self.convolution = nn.ConvTranspose2d(channels, out_channels, 3, stride, padding=1 if stride == 2 else 0)
        if stride == 2:
            tent = torch.tensor([0.5, 1.0, 0.5])
            mixing = torch.randn(channels, out_channels, 1, 1) * math.sqrt(2 / channels)
            self.convolution.weight = nn.Parameter(mixing * tent[:, None] * tent)
        else:
            nn.init.kaiming_normal_(self.convolution.weight)
        self.stride = stride

    def forward(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        height, width = size or (x.shape[2] * self.stride, x.shape[3] * self.stride)
        return F.relu(self.convolution(x, output_size=[height, width]), inplace=True)


class Start(nn.Module):
    """Vector -> size x size feature map."""

    def __init__(self, length: int, channels: int, size: int) -> None:
        super().__init__()
        self.convolution = nn.ConvTranspose2d(length, channels, size)
        nn.init.kaiming_normal_(self.convolution.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.convolution(x[:, :, None, None]))


def encoder_stage(channels: int, out_channels: int, kernel: int, stride: int, blocks: int = 1) -> nn.Sequential:
    residuals = [Residual(out_channels, kernel) for _ in range(blocks)]
    return nn.Sequential(Convolution(channels, out_channels, kernel, stride), *residuals)


class LocalPathway(nn.Module):
    """A patch with hidden or turned features -> the same patch of the frontal face. An encoder-decoder with skips.

    Args:
        encoder: widths at full, half, quarter, eighth size. decoder: widths at quarter and half size.
        fused: width at full size, whose features the global pathway is given.
    """

    def __init__(self, encoder: list[int], decoder: list[int], fused: int) -> None:
        super().__init__()
        e = encoder
        self.conv0 = encoder_stage(3, e[0], 3, 1)
        self.conv1 = encoder_stage(e[0], e[1], 3, 2)
        self.conv2 = encoder_stage(e[1], e[2], 3, 2)
        self.conv3 = encoder_stage(e[2], e[3], 3, 2)
        widths = [e[3], *decoder, fused]
        self.enlarge = nn.ModuleList(Enlarge(widths[i], widths[i + 1]) for i in range(3))
        self.decode = nn.ModuleList(encoder_stage(widths[i + 1] + e[2 - i], widths[i + 1], 3, 1) for i in range(3))
        self.to_rgb = nn.Conv2d(fused, 3, 1)

    def forward(self, patch: Tensor) -> LocalOutput:
        skips = [self.conv0(patch)]
        for stage in (self.conv1, self.conv2, self.conv3):
            skips.append(stage(skips[-1]))
        x = skips[3]
        for i, (enlarge, decode) in enumerate(zip(self.enlarge, self.decode, strict=True)):
            skip = skips[2 - i]
            x = decode(torch.cat([enlarge(x, skip.shape[2:]), skip], 1))
        return LocalOutput(self.to_rgb(x), x, {f"conv{i}": skips[i] for i in (1, 2, 3)})


class GlobalPathway(nn.Module):
    """Face, its fused local features and pictures -> frontal face at three sizes.

    Args:
        resolution: R. encoder: widths at R, R/2, R/4, R/8, R/16. start: widths of the plain enlargement of the code at R/16,
            R/4, R/2, R. decoder: widths of the transposed convolutions to R/8, R/4, R/2, R. last: widths of the two
            convolutions before the picture. fused: width of the local features. code: length of the bottleneck; a linear
            layer makes twice as many numbers, of each two neighbours the larger one stays (maxout). z_dim: length of the noise.
    """

    def __init__(
        self, resolution: int, encoder: list[int], start: list[int], decoder: list[int], last: list[int], fused: int,
        code: int, z_dim: int,
    ) -> None:  # fmt: skip
        super().__init__()
        e, small = encoder, resolution // 16
        self.conv0 = encoder_stage(3, e[0], 7, 1)
        self.conv1 = encoder_stage(e[0], e[1], 5, 2)
        self.conv2 = encoder_stage(e[1], e[2], 3, 2)
        self.conv3 = encoder_stage(e[2], e[3], 3, 2)
        self.conv4 = encoder_stage(e[3], e[4], 3, 2, blocks=4)
        self.to_code = nn.Linear(e[4] * small**2, 2 * code)

        self.start16 = Start(code + z_dim, start[0], small)
        self.start4 = Enlarge(start[0], start[1], stride=4)
        self.start2 = Enlarge(start[1], start[2])
        self.start1 = Enlarge(start[2], start[3])

        # What a selection block is given: the encoder's features, and from R/4 on the enlarged code and the input.
        given = [e[4] + start[0], e[3], e[2] + start[1] + 3, e[1] + start[2] + 3, e[0] + start[3] + 3]
        inside = [
            given[0],
            given[1] + decoder[0],
            given[2] + decoder[1],
            given[3] + decoder[2] + 3,
            given[4] + decoder[3] + 3 + fused + 3,
        ]
        self.select = nn.ModuleList(Residual(w, k) for w, k in zip(given, (2, 3, 3, 5, 7), strict=True))
        self.rebuild = nn.ModuleList(
            nn.Sequential(*(Residual(w, k) for _ in range(blocks)))
            for w, k, blocks in zip(inside, (2, 3, 3, 3, 5), (2, 2, 2, 2, 1), strict=True)
        )
        self.enlarge = nn.ModuleList(Enlarge(inside[i], decoder[i]) for i in range(4))
        self.to_rgb4 = nn.Conv2d(inside[2], 3, 3, padding=1)
        self.to_rgb2 = nn.Conv2d(inside[3], 3, 3, padding=1)
        self.last = nn.Sequential(
            Convolution(inside[4], last[0], 5), Residual(last[0], 3), Convolution(last[0], last[1], 3)
        )
        self.to_rgb = nn.Conv2d(last[1], 3, 3, padding=1)

    def forward(self, image: Tensor, local_features: Tensor, local_image: Tensor, z: Tensor | None) -> GlobalOutput:
        half, quarter = smaller(image, 2), smaller(image, 4)
        c0 = self.conv0(image)
        c1 = self.conv1(c0)
        c2 = self.conv2(c1)
        c3 = self.conv3(c2)
        c4 = self.conv4(c3)
        code = self.to_code(c4.flatten(1)).unflatten(1, (-1, 2)).amax(2)

        s16 = self.start16(code if z is None else torch.cat([code, z], 1))
        s4 = self.start4(s16)
        s2 = self.start2(s4)
        s1 = self.start1(s2)

        x = self.rebuild[0](self.select[0](torch.cat([s16, c4], 1)))
        x = self.rebuild[1](torch.cat([self.enlarge[0](x), self.select[1](c3)], 1))
        skip = self.select[2](torch.cat([s4, c2, quarter], 1))
        x = self.rebuild[2](torch.cat([self.enlarge[1](x), skip], 1))
        rgb4 = self.to_rgb4(x)
        skip = self.select[3](torch.cat([s2, c1, half], 1))
        x = self.rebuild[3](torch.cat([self.enlarge[2](x), skip, _double(rgb4)], 1))
        rgb2 = self.to_rgb2(x)
        skip = self.select[4](torch.cat([s1, c0, image], 1))
        x = torch.cat([self.enlarge[3](x), skip, _double(rgb2), local_features, local_image], 1)
        rgb = self.to_rgb(self.last(self.rebuild[4](x)))
        return GlobalOutput(rgb, rgb2, rgb4, code, {"conv1": c1, "conv2": c2, "conv3": c3, "conv4": c4})


def smaller(image: Tensor, factor: int) -> Tensor:
    """Mean over squares of `factor` x `factor` pixels: [N, 3, R, R] -> [N, 3, R/factor, R/factor]."""
    return F.avg_pool2d(image, factor)


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
