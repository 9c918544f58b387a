"""Pictures side by side."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor


def picture_grid(rows: list[Tensor], gap: int = 2) -> Image.Image:
    """Rows of uint8 pictures [N, 3, R, R] on white."""
    resolution = rows[0].shape[-1]
    width, height = rows[0].shape[0] * (resolution + gap) - gap, len(rows) * (resolution + gap) - gap
    canvas = torch.full((3, height, width), 255, dtype=torch.uint8)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            y, x = i * (resolution + gap), j * (resolution + gap)
            canvas[:, y : y + resolution, x : x + resolution] = picture.cpu()
    return Image.fromarray(canvas.permute(1, 2, 0).numpy())
