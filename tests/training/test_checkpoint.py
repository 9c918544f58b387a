"""Checkpoints: how many are kept, and what happens where one cannot be read or written."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from distilgan.errors import RunFailed, UserError
from tests.recipes import gan_recipe
from tests.training.running import assert_same, final_state, run


def test_checkpoints_are_pruned_and_named_by_images(image_folder: Path, tmp_path: Path) -> None:
    run(gan_recipe(image_folder, training={"images": 48, "checkpoint": 8, "keep_checkpoints": 3}), tmp_path / "r")
    names = sorted(p.name for p in (tmp_path / "r" / "checkpoints").iterdir())
    assert names == ["images-00000032", "images-00000040", "images-00000048", "latest"]


def test_a_damaged_checkpoint_is_named_with_its_cure(image_folder: Path, tmp_path: Path) -> None:
    recipe = gan_recipe(image_folder, training={"images": 32, "checkpoint": 16})
    run(recipe, tmp_path / "r")
    checkpoints = tmp_path / "r" / "checkpoints"
    newest = checkpoints / "images-00000032"
    content = (newest / "state.pt").read_bytes()
    (newest / "state.pt").write_bytes(content[: len(content) // 2])
    longer = gan_recipe(image_folder, training={"images": 48, "checkpoint": 16})
    with pytest.raises(
        UserError, match=r"images-00000032/state\.pt: damaged .*delete .* to go on from images-00000016"
    ):
        run(longer, tmp_path / "r")
    shutil.rmtree(newest)
    assert_same(run(longer, tmp_path / "r"), run(longer, tmp_path / "other"))


def test_a_full_disk_loses_nothing(image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = gan_recipe(image_folder, training={"images": 32, "checkpoint": 16})
    original = torch.save
    calls = 0

    def save(*args: Any, **kwargs: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(28, "No space left on device")
        original(*args, **kwargs)

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(
        RunFailed, match=r"disk full while writing .*images-00000032.*images-00000016 is whole.*same command"
    ):
        run(recipe, tmp_path / "r")
    assert final_state(tmp_path / "r")["images"] == 16
    assert_same(run(recipe, tmp_path / "r"), run(recipe, tmp_path / "other"))
