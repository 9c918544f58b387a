"""What a translator's step sees: three sets side by side."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import Tensor

from distilgan.data.crops import CropSet
from distilgan.data.translation_pairs import TranslationPairs
from distilgan.data.unpaired import TranslationBatch, TranslationFeed, picture_layout


@pytest.fixture
def feed(photo_folder: Path, style_folder: Path, pair_folder: Path) -> TranslationFeed:
    """12 photos, 10 pictures in the style, 8 pairs."""
    return TranslationFeed(
        CropSet(photo_folder, 16), CropSet(style_folder, 16, zoom=1.2), TranslationPairs(pair_folder, 16)
    )


def parts_of(batch: TranslationBatch) -> list[Tensor]:
    found = [batch.photo, batch.style, batch.paired_photo, batch.paired_style]
    return [part for part in found if part is not None]


@pytest.mark.parametrize("workers", [0, 1])
def test_all_sets_go_on_where_they_stopped(workers: int, feed: TranslationFeed) -> None:
    whole = list(islice(feed.batches(4, seed=5, mirror=True), 4))
    again = list(islice(feed.batches(4, seed=5, mirror=True, start=8, workers=workers), 2))
    for first, second in zip(whole[2:], again, strict=True):
        assert len(parts_of(first)) == 4
        assert all(torch.equal(a, b) for a, b in zip(parts_of(first), parts_of(second), strict=True))


def test_shares_of_a_batch_are_the_batch(feed: TranslationFeed) -> None:
    whole = next(feed.batches(4, seed=5, mirror=True))
    shares = [next(feed.batches(4, seed=5, mirror=True, part=p, parts=2)) for p in (0, 1)]
    for part, first, second in zip(parts_of(whole), *map(parts_of, shares), strict=True):
        assert torch.equal(part, torch.stack([first, second], 1).flatten(0, 1))


def test_sets_are_shuffled_apart(photo_folder: Path) -> None:
    """The same pictures on both sides meet in different order and at different places."""
    feed = TranslationFeed(CropSet(photo_folder, 16), CropSet(photo_folder, 16))
    batch = next(feed.batches(12, seed=0))
    equal = [torch.equal(a, b) for a, b in zip(batch.photo, batch.style, strict=True)]
    assert sum(equal) < 3
    assert parts_of(batch)[2:] == []


def test_on_the_device_pictures_are_numbers_from_minus_one_to_one(feed: TranslationFeed) -> None:
    batch = next(feed.batches(4, seed=5))
    moved = batch.to(torch.device("cpu"))
    for pixels, floats in zip(parts_of(batch), parts_of(moved), strict=True):
        assert pixels.dtype == torch.uint8
        torch.testing.assert_close(floats, pixels.float() / 127.5 - 1)
        assert floats.is_contiguous()
    assert picture_layout(torch.device("cpu")) == torch.contiguous_format
    assert picture_layout(torch.device("cuda")) == torch.channels_last
    bare = TranslationBatch(batch.photo, batch.style).to(torch.device("cpu"))
    assert bare.paired_photo is None
    assert bare.paired_style is None
