"""Whole runs of the loop, and what they leave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from distilgan.pipeline import build_method, kind_of
from distilgan.training.checkpoint import latest_checkpoint, load_checkpoint
from distilgan.training.hardware import start_hardware
from distilgan.training.loop import fit


def prepared(recipe: Any) -> Any:
    return build_method(recipe, kind_of(recipe).open_data())


def run(recipe: Any, out: Path) -> dict[str, Tensor]:
    out.mkdir(parents=True, exist_ok=True)
    hardware = start_hardware("cpu", recipe.training.precision)
    return fit(prepared(recipe), recipe, out, recipe.seed, hardware).state_dict()


def assert_same(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def final_state(out: Path) -> dict[str, Any]:
    path = latest_checkpoint(out / "checkpoints")
    assert path is not None
    return load_checkpoint(path)
