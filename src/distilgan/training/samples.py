"""Fixed-seed picture grids: the same inputs at every report, real | teacher | student as rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from distilgan.data.grid import VISIBLE, picture_grid, real_row
from distilgan.data.images import ImageSet, to_uint8
from distilgan.devices import to_device
from distilgan.files import disk_full_is_a_message
from distilgan.recipe import BaseRecipe

if TYPE_CHECKING:
    from distilgan.methods.base import Method

COLUMNS = 10


@torch.no_grad()
def save_samples(
    out: Path, method: Method, student: nn.Module, images: ImageSet, recipe: BaseRecipe, seed: int, seen: int
) -> None:
    """Write samples/images-N.png."""
    generator = torch.Generator().manual_seed(seed)
    inputs = to_device(method.grid_inputs(COLUMNS, generator), next(student.parameters()).device)
    rows = [real_row(images, COLUMNS, inputs.get("label"))]
    teacher = method.references(inputs)
    if teacher is not None:
        rows.append(to_uint8(teacher))
    rows.append(to_uint8(student(**inputs)))
    folder = out / "samples"
    with disk_full_is_a_message(folder, "the checkpoints are whole"):
        folder.mkdir(parents=True, exist_ok=True)
        picture_grid(rows, at_least=VISIBLE).save(folder / f"images-{seen:08d}.png")
