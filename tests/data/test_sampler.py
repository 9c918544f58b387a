from __future__ import annotations

from itertools import islice
from pathlib import Path

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distilgan.data.feed import Feed
from distilgan.data.images import ImageSet
from distilgan.data.sampler import EndlessShuffle


def take(n: int, **kwargs: object) -> list[tuple[int, bool]]:
    shuffle = EndlessShuffle(**kwargs)  # type: ignore[arg-type]
    return [item for batch in islice(shuffle, n) for item in batch]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 20), st.integers(1, 8), st.integers(0, 40), st.integers(0, 5))
def test_resuming_at_any_position_continues_the_sequence(length: int, batch: int, skipped: int, seed: int) -> None:
    whole = take(skipped + 10, length=length, batch=batch, seed=seed, mirror=True)
    later = take(10, length=length, batch=batch, seed=seed, mirror=True, start=skipped * batch)
    assert whole[skipped * batch :] == later


def test_every_image_once_an_epoch_in_new_order() -> None:
    items = [i for i, _ in take(15, length=10, batch=4, seed=1)]
    epochs = [items[k : k + 10] for k in range(0, 60, 10)]
    assert all(sorted(e) == list(range(10)) for e in epochs)
    assert epochs[0] != epochs[1]


def test_shares_are_dealt_out_and_make_up_the_batch() -> None:
    whole = take(6, length=10, batch=6, seed=2, mirror=True)
    shares = [take(6, length=10, batch=6, seed=2, mirror=True, part=p, parts=3) for p in range(3)]
    for step in range(6):
        for p in range(3):
            assert shares[p][2 * step : 2 * step + 2] == whole[6 * step + p : 6 * step + 6 : 3]


def test_mirroring(image_folder: Path) -> None:
    images = ImageSet(image_folder, 16)
    order = take(3, length=len(images), batch=8, seed=0, mirror=True)
    batches = torch.cat([b.images for b in islice(Feed(images).batches(8, 0, mirror=True), 3)])
    assert any(flip for _, flip in order)
    assert not all(flip for _, flip in order)
    for (index, flip), pixels in zip(order, batches, strict=True):
        assert torch.equal(pixels, images[index].flip(-1) if flip else images[index])


def test_workers_change_nothing(image_folder: Path) -> None:
    images = ImageSet(image_folder, 16)
    alone = torch.cat([b.images for b in islice(Feed(images).batches(4, 3), 4)])
    helped = torch.cat([b.images for b in islice(Feed(images).batches(4, 3, workers=1), 4)])
    assert torch.equal(alone, helped)
