"""Fixed-seed picture grids: the same inputs at every report."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from distilgan.data.grid import VISIBLE, picture_grid
from distilgan.files import disk_full_is_a_message


def save_samples(out: Path, rows: list[Tensor], seen: int) -> None:
    """Write samples/images-N.png of rows of pictures, uint8 [columns, 3, R, R]; nothing of none."""
    if not rows:
        return
    folder = out / "samples"
    with disk_full_is_a_message(folder, "the checkpoints are whole"):
        folder.mkdir(parents=True, exist_ok=True)
        picture_grid(rows, at_least=VISIBLE).save(folder / f"images-{seen:08d}.png")
