"""Light CNN, the network that TP-GAN's papers measure identity with; for its released weights.

Source: Wu et al., "A Light CNN for Deep Face Representation with Noisy Labels", 2018; parameter names as in its authors'
MIT-licensed PyTorch code, whose files load as they are. Without the classifier: 5.48 M, 12.57 M and 10.48 M parameters.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Kind = Literal["lightcnn-9", "lightcnn-29", "lightcnn-29v2"]
KINDS: tuple[Kind, ...] = ("lightcnn-9", "lightcnn-29", "lightcnn-29v2")
SIZE = 128


class MaxFeatureMap(nn.Module):
    """A layer twice as wide, of whose halves the larger value stays."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.filter = layer

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.filter(x).chunk(2, dim=1)
        return torch.maximum(first, second)


def _convolution(channels: int, out_channels: int, kernel: int) -> MaxFeatureMap:
    return MaxFeatureMap(nn.Conv2d(channels, 2 * out_channels, kernel, padding=kernel // 2))


class _Group(nn.Module):
    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv_a, self.conv = _convolution(channels, channels, 1), _convolution(channels, out_channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(self.conv_a(x))
        return y


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = _convolution(channels, channels, 3), _convolution(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv2(self.conv1(x)) + x
        return y


class _Both(nn.Module):
    """Maximum and mean of 2 x 2 pixels, added."""

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, 2) + F.avg_pool2d(x, 2)


class LightCNN(nn.Module):
    """Grey aligned faces [N, 1, 128, 128] in [0, 1] -> features [N, 256], not normalised."""

    def __init__(self, kind: Kind) -> None:
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if kind == "lightcnn-9":
            steps: list[nn.Module] = [_convolution(1, 48, 5), nn.MaxPool2d(2)]
            for before, after in ((48, 96), (96, 192), (192, 128), (128, 128)):
                steps += [_Group(before, after), *([] if before == 192 else [nn.MaxPool2d(2)])]
            layers["features"] = nn.Sequential(*steps)
            self.head = "fc1"
        else:
            pool = _Both if kind == "lightcnn-29v2" else lambda: nn.MaxPool2d(2)
            layers["conv1"], layers["pool1"] = _convolution(1, 48, 5), pool()
            widths = [(48, 96), (96, 192), (192, 128), (128, 128)]
            for i, (before, after) in enumerate(widths, 1):
                layers[f"block{i}"] = nn.Sequential(*(_Residual(before) for _ in range(i)))
                layers[f"group{i}"] = _Group(before, after)
                if i != 3:
                    layers[f"pool{ {1: 2, 2: 3, 4: 4}[i] }"] = pool()
            self.head = "fc"
        for name, layer in layers.items():
            self.add_module(name, layer)
        self._order = list(layers)
        wide = 128 * (SIZE // 16) ** 2
        last = nn.Linear(wide, 256) if kind == "lightcnn-29v2" else MaxFeatureMap(nn.Linear(wide, 512))
        self.add_module(self.head, last)

    def forward(self, faces: Tensor) -> Tensor:
        x = faces
        for name in self._order:
            x = self.get_submodule(name)(x)
        features: Tensor = self.get_submodule(self.head)(x.flatten(1))
        return features
