"""Sets whose classes can be told apart, and an extractor that takes no time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from distilgan.perception.features import Extractor, resize_antialiased

COLOURS = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200]])
MakeSet = Callable[..., Path]


class _Colours(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(()))  # an extractor asks where its network is

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(x, 2).flatten(1)


@pytest.fixture
def colours(monkeypatch: pytest.MonkeyPatch) -> Extractor:
    """Mean colours of the four quarters, 12 numbers, in place of a network's features."""
    extractor = Extractor("colours", _Colours(), 16, resize_antialiased, "antialiased", "0" * 64)
    monkeypatch.setattr("distilgan.evaluation.evaluate.build_extractor", lambda *_: extractor)
    return extractor


@pytest.fixture
def make_set(tmp_path: Path) -> MakeSet:
    """Writes NAME/CLASS/000.png ..., 16 px, reddish, greenish and bluish ones; their shades vary by `seed`."""

    def make(name: str, each: int, seed: int, classes: tuple[str, ...] = ("blue", "green", "red")) -> Path:
        rng = np.random.default_rng(seed)
        for label, folder in enumerate(classes):
            (tmp_path / name / folder).mkdir(parents=True)
            for i in range(each):
                quarters = COLOURS[label] + rng.normal(0, 15, (2, 2, 3))
                pixels = np.clip(quarters, 0, 255).astype(np.uint8).repeat(8, 0).repeat(8, 1)
                Image.fromarray(pixels).save(tmp_path / name / folder / f"{i:03d}.png")
        return tmp_path / name

    return make
