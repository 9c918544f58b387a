"""Features of a fixed network that say what a picture shows, whatever its style."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distilgan.errors import UserError
from distilgan.perception.efficientnet import EfficientNetLite0, load_efficientnet_lite0

_VGG19 = (64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M", 512, 512, 512, 512)
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class VGG19Content(nn.Module):
    """conv4_4 of VGG19, before its ReLU: [N, 3, H, W] in [-1, 1] -> [N, 512, H/8, W/8].

    Source: Simonyan and Zisserman 2015; the layer is that of CartoonGAN, Scenimefy and NijiGAN. Pictures are normalised as its
    weights want it; Scenimefy's code shows it (x + 1) / 2 of the photo as it is and, by a slip, x + 1/2 of the translation.
    """

    name = "vgg19"
    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for width in _VGG19:
            if isinstance(width, str):
                layers.append(nn.MaxPool2d(2))
                continue
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
            before = width
        self.features = nn.Sequential(*layers[:-1])
        self.register_buffer("mean", torch.tensor(_MEAN).reshape(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor(_DEVIATION).reshape(1, 3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        features: Tensor = self.features(((image + 1) / 2 - self.mean) / self.deviation)
        return features


class EfficientNetContent(nn.Module):
    """Stage 2 of EfficientNet-Lite0, unit length over channels: [N, 3, H, W] in [-1, 1] -> [N, 40, H/8, W/8]; times √40."""

    name = "efficientnet-lite0"

    def __init__(self, network: EfficientNetLite0, stage: int = 2) -> None:
        super().__init__()
        self.network, self.stage = network, stage

    def forward(self, image: Tensor) -> Tensor:
        (found,) = self.network.maps(image, (self.stage,))
        features: Tensor = F.normalize(found.float(), dim=1) * found.shape[1] ** 0.5
        return features


def build_content(spec: str) -> nn.Module:
    """`efficientnet-lite0` (packaged), or `vgg19:PATH` to torchvision's VGG19 weights.

    Raises:
        UserError: unknown name, missing or unfit file.
    """
    if spec == "efficientnet-lite0":
        return EfficientNetContent(load_efficientnet_lite0())
    if spec.startswith("vgg19:"):
        return _load_vgg19(Path(spec.removeprefix("vgg19:")))
    raise UserError(f"content_network={spec!r} is unknown; known: efficientnet-lite0, vgg19:PATH")


def _load_vgg19(path: Path) -> VGG19Content:
    network = VGG19Content()
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        wanted = [name for name in network.state_dict() if name.startswith("features.")]
        network.load_state_dict({name: stored[name] for name in wanted}, strict=False)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; vgg19:PATH takes torchvision's vgg19-dcbb9e9d.pth") from error
    except Exception as error:
        raise UserError(f"{path}: not torchvision's VGG19 weights ({' '.join(str(error).split())[:120]})") from error
    return network.eval().requires_grad_(False)
