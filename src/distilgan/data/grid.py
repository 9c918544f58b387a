"""Pictures side by side."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

from distilgan.data.images import ImageSet

VISIBLE = 96
"""Pixels from which a picture can be judged on a screen without enlarging it."""


def picture_grid(rows: list[Tensor], gap: int = 2, at_least: int = 1) -> Image.Image:
    """Rows of uint8 pictures [N, 3, R, R] on white; small ones are enlarged, pixel by pixel, to `at_least` so many px."""
    scale = max(1, at_least // rows[0].shape[-1])
    rows = [row.repeat_interleave(scale, 2).repeat_interleave(scale, 3) for row in rows]
    resolution = rows[0].shape[-1]
    width, height = max(len(row) for row in rows) * (resolution + gap) - gap, len(rows) * (resolution + gap) - gap
    canvas = torch.full((3, height, width), 255, dtype=torch.uint8)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            y, x = i * (resolution + gap), j * (resolution + gap)
            canvas[:, y : y + resolution, x : x + resolution] = picture.cpu()
    return Image.fromarray(canvas.permute(1, 2, 0).numpy())


def real_row(images: ImageSet, columns: int, label: Tensor | None) -> Tensor:
    """The first images of a set, uint8 [columns, 3, R, R]; with `label`, the first ones of these classes in turn."""
    if label is None or not images.labelled:
        return torch.stack([images[i % len(images)] for i in range(columns)])
    classes, used, chosen = images.labels, dict[int, int](), []
    for wanted in label.tolist():
        members = (classes == wanted).nonzero().flatten()
        if not len(members):  # a set without this class
            members = torch.arange(len(images))
        chosen.append(int(members[used.get(wanted, 0) % len(members)]))
        used[wanted] = used.get(wanted, 0) + 1
    return torch.stack([images[i] for i in chosen])
