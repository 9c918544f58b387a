"""The Inception network of FID, from the weight file that pytorch-fid and torch-fidelity share.

Source: Szegedy et al., "Rethinking the Inception Architecture", 2016, as the TensorFlow graph of Heusel et al. 2017 has it:
average pooling without the padded border, a maximum instead of an average in the last block, 1008 classes. The file is
`pt_inception-2015-12-05-6726825d.pth` (pytorch-fid) or `weights-inception-2015-12-05-6726825d.pth` (torch-fidelity).
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distilgan.errors import UserError


class _Conv(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int | tuple[int, int], stride: int = 1, pad: int | tuple[int, int] = 0
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, pad, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


def _average(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class _A(nn.Module):
    def __init__(self, inputs: int, pool: int) -> None:
        super().__init__()
        self.branch1x1 = _Conv(inputs, 64, 1)
        self.branch5x5_1, self.branch5x5_2 = _Conv(inputs, 48, 1), _Conv(48, 64, 5, pad=2)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = _Conv(inputs, 64, 1), _Conv(64, 96, 3, pad=1)
        self.branch3x3dbl_3, self.branch_pool = _Conv(96, 96, 3, pad=1), _Conv(inputs, pool, 1)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        parts = [self.branch1x1(x), self.branch5x5_2(self.branch5x5_1(x)), double, self.branch_pool(_average(x))]
        return torch.cat(parts, 1)


class _B(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = _Conv(inputs, 384, 3, 2)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = _Conv(inputs, 64, 1), _Conv(64, 96, 3, pad=1)
        self.branch3x3dbl_3 = _Conv(96, 96, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, 2)], 1)


class _C(nn.Module):
    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        row, column = (1, 7), (7, 1)
        along, down = (0, 3), (3, 0)
        self.branch1x1 = _Conv(inputs, 192, 1)
        self.branch7x7_1, self.branch7x7_2 = _Conv(inputs, width, 1), _Conv(width, width, row, pad=along)
        self.branch7x7_3, self.branch7x7dbl_1 = _Conv(width, 192, column, pad=down), _Conv(inputs, width, 1)
        self.branch7x7dbl_2 = _Conv(width, width, column, pad=down)
        self.branch7x7dbl_3 = _Conv(width, width, row, pad=along)
        self.branch7x7dbl_4 = _Conv(width, width, column, pad=down)
        self.branch7x7dbl_5 = _Conv(width, 192, row, pad=along)
        self.branch_pool = _Conv(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch7x7dbl_2(self.branch7x7dbl_1(x))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(self.branch7x7dbl_3(double)))
        single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        return torch.cat([self.branch1x1(x), single, double, self.branch_pool(_average(x))], 1)


class _D(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = _Conv(inputs, 192, 1), _Conv(192, 320, 3, 2)
        self.branch7x7x3_1, self.branch7x7x3_2 = _Conv(inputs, 192, 1), _Conv(192, 192, (1, 7), pad=(0, 3))
        self.branch7x7x3_3, self.branch7x7x3_4 = _Conv(192, 192, (7, 1), pad=(3, 0)), _Conv(192, 192, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), seven, F.max_pool2d(x, 3, 2)], 1)


class _E(nn.Module):
    def __init__(self, inputs: int, last: bool) -> None:
        super().__init__()
        self.branch1x1, self.branch3x3_1 = _Conv(inputs, 320, 1), _Conv(inputs, 384, 1)
        self.branch3x3_2a = _Conv(384, 384, (1, 3), pad=(0, 1))
        self.branch3x3_2b = _Conv(384, 384, (3, 1), pad=(1, 0))
        self.branch3x3dbl_1, self.branch3x3dbl_2 = _Conv(inputs, 448, 1), _Conv(448, 384, 3, pad=1)
        self.branch3x3dbl_3a = _Conv(384, 384, (1, 3), pad=(0, 1))
        self.branch3x3dbl_3b = _Conv(384, 384, (3, 1), pad=(1, 0))
        self.branch_pool = _Conv(inputs, 192, 1)
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = F.max_pool2d(x, 3, stride=1, padding=1) if self.last else _average(x)
        return torch.cat(
            [
                self.branch1x1(x),
                self.branch3x3_2a(three),
                self.branch3x3_2b(three),
                self.branch3x3dbl_3a(double),
                self.branch3x3dbl_3b(double),
                self.branch_pool(pooled),
            ],
            1,
        )


class FIDInception(nn.Module):
    """Pictures [N, 3, 299, 299] in [-1, 1] -> pooled features [N, 2048]."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3, self.Conv2d_2a_3x3 = _Conv(3, 32, 3, 2), _Conv(32, 32, 3)
        self.Conv2d_2b_3x3, self.Conv2d_3b_1x1 = _Conv(32, 64, 3, pad=1), _Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = _Conv(80, 192, 3)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _A(192, 32), _A(256, 64), _A(288, 64)
        self.Mixed_6a = _B(288)
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = (_C(768, w) for w in (128, 160, 160, 192))
        self.Mixed_7a = _D(768)
        self.Mixed_7b, self.Mixed_7c = _E(1280, last=False), _E(2048, last=True)

    def forward(self, images: Tensor) -> Tensor:
        x = images * (127.5 / 128) - 0.5 / 128  # (8-bit value - 128) / 128, as the TensorFlow graph has it
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(F.max_pool2d(x, 3, 2))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        pooled: Tensor = x.mean((2, 3))
        return pooled


def load_fid_inception(path: Path) -> FIDInception:
    """The network with weights from the file; frozen, in eval mode.

    Raises:
        UserError: no such file, or not the FID Inception weights.
    """
    network = FIDInception()
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict({k: v for k, v in stored.items() if not k.startswith("fc.")}, strict=False)
        missing = [k for k in network.state_dict() if k not in stored and not k.endswith("num_batches_tracked")]
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; inception:PATH takes pt_inception-2015-12-05-6726825d.pth") from error
    except Exception as error:
        raise UserError(f"{path}: not the FID Inception weights ({' '.join(str(error).split())[:120]})") from error
    if missing:
        raise UserError(f"{path}: not the FID Inception weights ({missing[0]} is missing)")
    return network.eval().requires_grad_(False)


def resize_tf1(pixels: Tensor, size: int) -> Tensor:
    """Bilinear resize as TensorFlow 1 did it: source position = output index · (input size / output size), no half-pixel
    offset, no antialiasing; [N, C, H, W] float -> [N, C, size, size].
    """

    def taps(length: int) -> tuple[Tensor, Tensor, Tensor]:
        position = torch.arange(size, device=pixels.device, dtype=torch.float32) * (length / size)
        low = position.floor().long().clamp(max=length - 1)
        return low, (low + 1).clamp(max=length - 1), position - low

    top, bottom, fy = taps(pixels.shape[2])
    left, right, fx = taps(pixels.shape[3])
    rows = pixels[:, :, top] * (1 - fy)[:, None] + pixels[:, :, bottom] * fy[:, None]
    return rows[:, :, :, left] * (1 - fx) + rows[:, :, :, right] * fx
