"""What a training step sees: real images and, for a student, the teacher's pairs, each from its own endless shuffle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from distilgan.data.images import ImageSet, to_float
from distilgan.data.pairs import PairStore
from distilgan.data.sampler import EndlessShuffle

_PAIRS = 1  # stream of the pairs' shuffle


@dataclass
class PairBatch:
    """Inputs of the teacher and what it made of them."""

    z: Tensor  # float32 [n, *latent shape]
    label: Tensor  # int64 [n]
    image: Tensor  # [n, 3, R, R], uint8, or float in [-1, 1] once on the device


@dataclass
class Batch:
    """One process's share of a step, or a micro-batch of it."""

    images: Tensor  # [n, 3, R, R], uint8, or float in [-1, 1] once on the device
    labels: Tensor | None = None  # int64 [n]
    pairs: PairBatch | None = None

    def to(self, device: torch.device) -> Batch:
        """On `device`, pictures as float."""

        def floats(pixels: Tensor) -> Tensor:
            return to_float(pixels.to(device, non_blocking=True)).contiguous(memory_format=torch.channels_last)

        pairs, labels = self.pairs, self.labels
        if pairs is not None:
            pairs = PairBatch(pairs.z.to(device), pairs.label.to(device), floats(pairs.image))
        return Batch(floats(self.images), None if labels is None else labels.to(device), pairs)


class _Pictures(Dataset[tuple[Tensor, int]]):
    def __init__(self, images: ImageSet, labelled: bool) -> None:
        self.images, self.labels = images, images.labels if labelled else None

    def __getitem__(self, item: tuple[int, bool]) -> tuple[Tensor, int]:
        index, flip = item
        pixels = self.images[index]
        label = -1 if self.labels is None else int(self.labels[index])
        return pixels.flip(-1) if flip else pixels, label


class _Pairs(Dataset[tuple[Tensor, int, Tensor]]):
    def __init__(self, store: PairStore) -> None:
        self.store = store

    def __getitem__(self, item: tuple[int, bool]) -> tuple[Tensor, int, Tensor]:
        return self.store[item[0]]


class Feed:
    """Images, with their classes if `labelled`, and pairs if there is a store of them."""

    def __init__(self, images: ImageSet, *, labelled: bool = False, pairs: PairStore | None = None) -> None:
        self.images, self.labelled, self.pairs = images, labelled, pairs

    def batches(
        self, batch: int, seed: int, *,
        start: int = 0, mirror: bool = False, part: int = 0, parts: int = 1, workers: int = 0,
    ) -> Iterator[Batch]:  # fmt: skip
        """Endless batches of [batch / parts] from position `start` of the shuffles."""
        order = EndlessShuffle(len(self.images), batch, seed, start=start, mirror=mirror, part=part, parts=parts)
        real = DataLoader(_Pictures(self.images, self.labelled), batch_sampler=order, num_workers=workers)
        if self.pairs is None:
            for images, labels in real:
                yield Batch(images, labels if self.labelled else None)
            return
        order = EndlessShuffle(self.pairs.shards, batch, seed, start=start, part=part, parts=parts, stream=_PAIRS)
        taught = DataLoader(_Pairs(self.pairs), batch_sampler=order, num_workers=workers)
        for (images, labels), pair in zip(real, taught, strict=True):
            yield Batch(images, labels if self.labelled else None, PairBatch(*pair))
