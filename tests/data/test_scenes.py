"""Drawn landscapes: the same wherever and however often they are drawn."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distilgan.data.crops import CropSet
from distilgan.data.scenes import dataset, render_scenes
from distilgan.data.scenes.draw import Light, draw_scene
from distilgan.errors import UserError


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_pictures_depend_on_seed_and_number_alone(tmp_path: Path) -> None:
    told: list[int] = []
    few, more = tmp_path / "few", tmp_path / "more"
    render_scenes(few, 2, 64, seed=5, progress=told.append)
    render_scenes(more, 3, 64, seed=5, workers=2)
    assert told == [1, 1]
    first, second = contents(few), contents(more)
    assert set(second) - set(first) == {"00000/scene000002.webp"}
    pictures = [name for name in first if name.endswith(".webp")]
    assert len(pictures) == 2
    assert all(first[name] == second[name] for name in pictures)
    assert np.array(Image.open(few / pictures[1])).shape == (64, 96, 3)
    drawn = draw_scene(np.random.default_rng([5, 1]), 64, 96)
    assert np.array_equal(np.array(Image.open(few / pictures[1])), drawn)
    assert not np.array_equal(drawn, draw_scene(np.random.default_rng([6, 1]), 64, 96))


def test_a_stopped_set_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = contents(render_scenes(tmp_path / "whole", 3, 64))

    def stop(n: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_scenes(tmp_path / "set", 3, 64, progress=stop)
    assert len(contents(tmp_path / "set")) == 2  # the manifest and a picture
    drawn: list[int] = []

    def counted(rng: np.random.Generator, height: int, width: int, light: Light) -> np.ndarray:
        drawn.append(1)
        return draw_scene(rng, height, width, light)

    monkeypatch.setattr(dataset, "draw_scene", counted)
    render_scenes(tmp_path / "set", 3, 64)
    assert contents(tmp_path / "set") == whole
    assert len(drawn) == 2


def test_a_zip(tmp_path: Path) -> None:
    one = render_scenes(tmp_path / "a.zip", 2, 64)
    assert one.read_bytes() == render_scenes(tmp_path / "b.zip", 2, 64).read_bytes()
    with zipfile.ZipFile(one) as archive:
        about = json.loads(archive.read("scenes.json"))
    assert (about["count"], about["size"], about["licence"]) == (2, 64, "CC0-1.0")
    assert {p.name for p in tmp_path.iterdir()} == {"a.zip", "b.zip"}
    assert len(CropSet(one, 32)) == 2
    with pytest.raises(UserError, match=r"a\.zip exists already"):
        render_scenes(one, 2, 64)


def test_other_sets_and_files_are_left_alone(tmp_path: Path) -> None:
    out = render_scenes(tmp_path / "set", 2, 64)
    before = contents(out)
    for count, size, seed, message in (
        (2, 80, 0, "size 64, not 80"), (2, 64, 1, "seed 0, not 1"), (1, 64, 0, "at least that many"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=message):
            render_scenes(out, count, size, seed)
    assert contents(out) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="is not empty"):
        render_scenes(tmp_path / "mine", 1, 64)
    for size in (63, 1025):
        with pytest.raises(UserError, match="64 to 1024"):
            render_scenes(tmp_path / "new", 1, size)
    assert not (tmp_path / "new").exists()


def test_scenes_are_of_many_kinds() -> None:
    """Bright and flat: a drawn picture has few colours for its size, and no two are alike."""
    pictures = [draw_scene(np.random.default_rng([0, i]), 64, 96) for i in range(8)]
    means = np.stack([p.mean((0, 1)) for p in pictures])
    assert means.std(0).min() > 5
    assert all(len(np.unique(p.reshape(-1, 3), axis=0)) < p.size / 3 for p in pictures)


def test_by_day_no_picture_is_dark() -> None:
    def darkest(light: Light) -> float:
        return min(float(draw_scene(np.random.default_rng([0, i]), 64, 96, light).mean()) for i in range(12))

    assert darkest("day") > 120 > 100 > darkest("any")
