"""Photos with their translations, read from a folder or a zip. Crops, sides and the manifest's choice are in test_crops."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from distilgan.data.archives import stems
from distilgan.data.translation_pairs import TranslationPairs
from distilgan.errors import UserError


def test_a_zip_is_the_folder(pair_folder: Path, tmp_path: Path) -> None:
    shutil.make_archive(str(tmp_path / "packed"), "zip", pair_folder)
    folder, packed = TranslationPairs(pair_folder, 16), TranslationPairs(tmp_path / "packed.zip", 16)
    assert folder.names == packed.names == [f"{i:02d}" for i in range(8)]
    for mine, other in zip(folder.crop(3, (0.2, 0.7, 0.0)), packed.crop(3, (0.2, 0.7, 0.0)), strict=True):
        assert torch.equal(mine, other)


def test_names_are_matched_without_their_endings(pair_folder: Path) -> None:
    (pair_folder / "photo" / "deep").mkdir()
    (pair_folder / "style" / "deep").mkdir()
    shutil.move(pair_folder / "style" / "00.png", pair_folder / "style" / "deep" / "a b.png")
    with Image.open(pair_folder / "photo" / "00.png") as image:
        image.save(pair_folder / "photo" / "deep" / "a b.BMP")
    (pair_folder / "photo" / "00.png").unlink()
    (pair_folder / "photo" / ".hidden.png").write_bytes(b"")
    (pair_folder / "notes.txt").write_text("mine")
    assert TranslationPairs(pair_folder, 16, limit=3).names == ["01", "02", "03"]
    assert "deep/a b" in TranslationPairs(pair_folder, 16).names


def test_zoomed_crops_show_one_place(pair_folder: Path) -> None:
    for name in ("photo", "style"):  # the style is the photo's negative
        for path in (pair_folder / name).iterdir():
            ramp = np.add.outer(np.arange(60), np.arange(80))[..., None].repeat(3, 2).astype(np.uint8)
            Image.fromarray(ramp if name == "photo" else 255 - ramp).save(path)
    pairs = TranslationPairs(pair_folder, 16, zoom=3.0)
    for place in ((0.1, 0.9, 0.99), (0.5, 0.5, 0.4)):
        photo, style = pairs.crop(0, place, flip=True)
        assert (photo.int() + style.int() - 255).abs().max() <= 1


@pytest.mark.parametrize(
    ("do", "message"),
    [
        (lambda p: (p / "photo" / "03.png").unlink(), r"style/03\.png has no partner in photo/ \(1 of 8 have none\)"),
        (lambda p: shutil.rmtree(p / "photo"), "has no folder photo/ beside"),
        (lambda p: (p / "style").rename(p / "styles"), "has no folder style/"),
        (lambda p: [shutil.rmtree(q) for q in p.iterdir()], "no pairs"),
        (lambda p: (p / "style" / "03.png").write_bytes(b"no"), r"style/03\.png cannot be read \(not an image"),
        (lambda p: (p / "manifest.csv").write_text("a,b\n1,2\n"), r"manifest\.csv: expected columns name and kept"),
        (lambda p: (p / "manifest.csv").write_text(""), r"manifest\.csv: expected columns name and kept"),
        (shutil.rmtree, "no such folder"),
    ],
)
def test_bad_folders_are_refused(do: object, message: str, pair_folder: Path) -> None:
    assert callable(do)
    do(pair_folder)
    with pytest.raises(UserError, match=message) as error:
        TranslationPairs(pair_folder, 16)
    assert str(pair_folder) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_picture_that_is_cut_short_is_named(pair_folder: Path) -> None:
    """Its head, which is looked at first, is whole."""
    path = pair_folder / "style" / "02.png"
    path.write_bytes(path.read_bytes()[:-60])
    pairs = TranslationPairs(pair_folder, 16)
    with pytest.raises(UserError, match=r"style/02\.png cannot be read"):
        pairs.crop(2, (0, 0, 0))


def test_names_without_endings() -> None:
    assert stems(["a.png", "b/c.d.jpg", "b/c.e.jpg"]) == ["a", "b/c.d", "b/c.e"]
    assert stems(["me.png", "me.jpg", "you.png"]) == ["me.png", "me.jpg", "you"]
    assert stems(["me.png", "me.jpg", "me.png.gif"]) == ["me.png", "me.jpg", "me.png.gif"]
