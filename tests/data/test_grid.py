from __future__ import annotations

import numpy as np
import torch

from distilgan.data.grid import picture_grid


def test_pictures_stand_in_rows_with_gaps() -> None:
    row = torch.full((3, 3, 4, 4), 7, dtype=torch.uint8)
    grid = np.asarray(picture_grid([row, row], gap=2))
    assert grid.shape == (10, 16, 3)
    assert (grid[:4, :4] == 7).all()
    assert (grid[4:6] == 255).all()
    assert (grid[:, 4:6] == 255).all()


def test_small_pictures_are_enlarged_by_whole_factors() -> None:
    picture = torch.arange(2 * 2, dtype=torch.uint8).reshape(1, 1, 2, 2).expand(1, 3, 2, 2)
    grid = np.asarray(picture_grid([picture], at_least=5))
    assert grid.shape == (4, 4, 3)
    assert (grid[:2, 2:] == 1).all()
    assert picture_grid([picture], at_least=1).size == (2, 2)
