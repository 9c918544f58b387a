"""LPIPS with VGG16, from the well-known weight files.

Source: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018, equation 1, version
0.1. Two files make it: ImageNet weights of VGG16 (torchvision's `vgg16-397923af.pth`) and the 5 linear heads, which the
package torchmetrics carries.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distilgan.errors import UserError

_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_LARGEST = 256


class LPIPS(nn.Module):
    """Pictures in [-1, 1], twice [N, 3, H, W] -> distances [N] >= 0; larger than 256 px is resized to 256 first."""

    name = "lpips-vgg"
    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        blocks, channels = [], 3
        for widths in _BLOCKS:
            layers: list[nn.Module] = []
            for width in widths:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            blocks.append(nn.Sequential(*layers))
        self.blocks = nn.ModuleList(blocks)
        self.heads = nn.ParameterList([nn.Parameter(torch.zeros(widths[-1])) for widths in _BLOCKS])
        self.register_buffer("shift", torch.tensor(_SHIFT).reshape(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(_SCALE).reshape(1, 3, 1, 1))

    def maps(self, images: Tensor) -> list[Tensor]:
        """Activations at the end of each block, unit length over channels."""
        if max(images.shape[2:]) > _LARGEST:
            images = F.interpolate(images, (_LARGEST, _LARGEST), mode="bilinear", align_corners=False)
        x, found = (images - self.shift) / self.scale, []
        for i, block in enumerate(self.blocks):
            x = block(F.max_pool2d(x, 2) if i else x)
            found.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return found

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        with torch.autocast(first.device.type, enabled=False):  # bf16 hurts the small differences
            pairs = zip(self.maps(first.float()), self.maps(second.float()), self.heads, strict=True)
            terms = [((a - b).square() * head[None, :, None, None]).sum(1).mean((1, 2)) for a, b, head in pairs]
        return torch.stack(terms).sum(0)


def load_lpips(vgg: Path) -> LPIPS:
    """The distance with VGG16 weights from the file `vgg`.

    Raises:
        UserError: no such file, or not torchvision's VGG16.
    """
    network = LPIPS()
    try:
        stored = torch.load(vgg, map_location="cpu", weights_only=True)
        names = sorted((k for k in stored if k.startswith("features.")), key=lambda k: (int(k.split(".")[1]), k))
        pairs = [(stored[names[i + 1]], stored[names[i]]) for i in range(0, len(names), 2)]  # (weight, bias)
        layers = [m for block in network.blocks for m in block.modules() if isinstance(m, nn.Conv2d)]
        for layer, (weight, bias) in zip(layers, pairs, strict=True):
            layer.load_state_dict({"weight": weight, "bias": bias})
    except FileNotFoundError as error:
        raise UserError(f"{vgg}: no such file; perceptual=lpips:PATH takes torchvision's vgg16-397923af.pth") from error
    except Exception as error:
        raise UserError(f"{vgg}: not torchvision's VGG16 weights ({' '.join(str(error).split())[:120]})") from error
    heads = torch.load(heads_path(), map_location="cpu", weights_only=True)
    for i, head in enumerate(network.heads):
        head.data.copy_(heads[f"lin{i}.model.1.weight"].flatten())
    return network.eval().requires_grad_(False)


def heads_path() -> Path:
    """The linear heads that torchmetrics carries."""
    import torchmetrics

    return Path(torchmetrics.__file__).parent / "functional" / "image" / "lpips_models" / "vgg.pth"
