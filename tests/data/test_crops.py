"""Crops of pictures of any size, and what training sees of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from distilgan.data.crops import CropSet, cut_out, place_at
from distilgan.data.translation_pairs import TranslationPairs
from distilgan.data.unpaired import TranslationFeed
from distilgan.errors import UserError


def ramp(height: int, width: int) -> np.ndarray:
    """Row number in red, column number in green."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.full_like(rows, 7)], 2).astype(np.uint8)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, (height, width) in enumerate([(40, 60), (60, 40), (33, 90), (200, 120)]):
        Image.fromarray(ramp(height, width)).save(folder / f"{i}.png")
    return folder


share = st.floats(0, 1, exclude_max=True)


@settings(max_examples=60, deadline=None)
@given(down=share, right=share, size=share, height=st.integers(16, 90), width=st.integers(16, 90))
def test_a_crop_lies_in_the_picture(down: float, right: float, size: float, height: int, width: int) -> None:
    pixels = torch.from_numpy(ramp(height, width)).permute(2, 0, 1)
    found = cut_out(pixels, 16, 1.0, (down, right, size), flip=False)
    top, left = int(found[0, 0, 0]), int(found[1, 0, 0])
    assert torch.equal(found, pixels[:, top : top + 16, left : left + 16])
    zoomed = cut_out(pixels, 16, 4.0, (down, right, size), flip=True)
    assert zoomed.shape == (3, 16, 16)


def test_zoom_shows_more_of_the_picture() -> None:
    pixels = torch.from_numpy(ramp(128, 128)).permute(2, 0, 1)
    near, far = (cut_out(pixels, 32, 4.0, (0.0, 0.0, size), flip=False) for size in (0.0, 0.999))
    assert int(near[0].max()) == 31
    assert int(far[0].max()) > 120


def test_pictures_are_reduced_to_load_and_enlarged_to_the_crop(photos: Path) -> None:
    shapes = [tuple(CropSet(photos, 36, load=50)[i].shape[1:]) for i in range(4)]
    assert shapes == [(40, 60), (60, 40), (36, 98), (83, 50)]


def test_unusable_files_are_named(photos: Path) -> None:
    (photos / "bad.jpg").write_text("no picture")
    pictures = CropSet(photos, 16)
    assert [s.name for s in pictures.skipped] == ["bad.jpg"]
    assert len(pictures) == 4
    with pytest.raises(UserError, match=r"bad\.jpg cannot be used"):
        CropSet(photos, 16, strict=True)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no images"):
        CropSet(tmp_path, 16)


def test_hold_out_shares_no_picture(photos: Path) -> None:
    first, second = CropSet(photos, 16).hold_out(0.25, seed=3)
    assert not set(first.names) & set(second.names)
    assert (len(first), len(second)) == (3, 1)
    assert torch.equal(second[0], CropSet(photos, 16)[int(second.names[0][0])])


def test_crops_for_measuring_are_the_same_each_time(photos: Path) -> None:
    pictures = CropSet(photos, 16)
    assert torch.equal(pictures.crops(5), pictures.crops(5))
    assert pictures.crops(5).shape == (20, 3, 16, 16)
    assert len({tuple(c.flatten().tolist()) for c in pictures.crops(5)}) == 20


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    folder = tmp_path / "pairs"
    for side, offset in (("photo", 0), ("style", 100)):
        (folder / side).mkdir(parents=True)
        for i in range(3):
            Image.fromarray(ramp(40, 60) + np.uint8(offset)).save(folder / side / f"{i}.png")
    return folder


def test_a_pair_gets_one_crop_and_flip(pairs: Path) -> None:
    feed = TranslationFeed(CropSet(pairs / "photo", 16), CropSet(pairs / "style", 16), TranslationPairs(pairs, 16))
    stream = feed.batches(4, seed=0, mirror=True)
    flips = 0
    for _ in range(5):
        batch = next(stream)
        assert batch.paired_photo is not None
        assert batch.paired_style is not None
        assert torch.equal(batch.paired_photo + 100, batch.paired_style)
        flips += int((batch.paired_photo[:, 1, 0, 0] > batch.paired_photo[:, 1, 0, -1]).sum())
    assert 0 < flips < 20


def test_a_feed_goes_on_where_it_stopped(photos: Path, pairs: Path) -> None:
    feed = TranslationFeed(CropSet(photos, 16, zoom=2.0), CropSet(pairs / "style", 16))
    stream = feed.batches(4, seed=5, mirror=True)
    wanted = [next(stream) for _ in range(4)][3]
    found = next(feed.batches(4, seed=5, mirror=True, start=12))
    assert torch.equal(found.photo, wanted.photo)
    assert torch.equal(found.style, wanted.style)


def test_shares_of_a_batch_are_the_batch(photos: Path) -> None:
    feed = TranslationFeed(CropSet(photos, 16, zoom=2.0), CropSet(photos, 16))
    whole = next(feed.batches(4, seed=5, mirror=True))
    parts = [next(feed.batches(4, seed=5, mirror=True, part=p, parts=2)) for p in (0, 1)]
    assert torch.equal(torch.stack([parts[0].photo, parts[1].photo], 1).flatten(0, 1), whole.photo)


def test_places_differ_from_position_to_position() -> None:
    places = {tuple(place_at(0, position, stream)) for position in range(50) for stream in (0, 1)}
    assert len(places) == 100


def test_a_missing_side_is_refused(pairs: Path) -> None:
    (pairs / "style" / "1.png").unlink()
    with pytest.raises(UserError, match=r"photo/1\.png has no partner in style/"):
        TranslationPairs(pairs, 16)
    for file in (pairs / "style").iterdir():
        file.unlink()
    (pairs / "style").rmdir()
    with pytest.raises(UserError, match="has no folder style/"):
        TranslationPairs(pairs, 16)


def test_pictures_of_different_sizes_are_refused(pairs: Path) -> None:
    Image.fromarray(ramp(40, 61)).save(pairs / "style" / "1.png")
    with pytest.raises(UserError, match="1 have different sizes, 60x40 and 61x40"):
        TranslationPairs(pairs, 16)


def test_pairs_smaller_than_a_crop_are_refused(pairs: Path) -> None:
    with pytest.raises(UserError, match=r"smaller than data\.resolution=48"):
        TranslationPairs(pairs, 48)


def test_the_manifest_says_which_pairs_are_kept(pairs: Path) -> None:
    (pairs / "manifest.csv").write_text("name,kept\n0,yes\n1,no\n2,yes\n")
    assert TranslationPairs(pairs, 16).names == ["0", "2"]
    (pairs / "manifest.csv").write_text("name,kept\n0,no\n")
    with pytest.raises(UserError, match=r"holds no pairs that manifest\.csv keeps"):
        TranslationPairs(pairs, 16)


def test_other_layouts_are_read(pairs: Path) -> None:
    (pairs / "photo").rename(pairs / "trainA")
    (pairs / "style").rename(pairs / "trainB")
    assert len(TranslationPairs(pairs, 16)) == 3
