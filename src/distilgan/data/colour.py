"""Colours as eyes judge them."""

from __future__ import annotations

import torch
from torch import Tensor

# Of IEC 61966-2-1, white D65.
_TO_XYZ = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
_WHITE = (0.95047, 1.0, 1.08883)
_BEND = 6 / 29


def lab(pixels: Tensor) -> Tensor:
    """sRGB uint8 [3, H, W] -> CIE L*a*b* [3, H, W]: L* in [0, 100], a* and b* about [-110, 110]."""
    s = pixels.float() / 255
    linear = torch.where(s <= 0.04045, s / 12.92, ((s + 0.055) / 1.055) ** 2.4)
    xyz = torch.einsum("ij,jhw->ihw", torch.tensor(_TO_XYZ), linear) / torch.tensor(_WHITE)[:, None, None]
    f = torch.where(xyz > _BEND**3, xyz.clamp(min=1e-9) ** (1 / 3), xyz / (3 * _BEND**2) + 4 / 29)
    return torch.stack([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])
