"""Which image comes when: an endless shuffle that is a pure function of (seed, position), so that it can resume anywhere."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from distilgan.data.images import ImageSet


class EndlessShuffle(Sampler[list[tuple[int, bool]]]):
    """Batches of (image index, flipped?) from position `start` on, for one of `parts` equal shares of each batch.

    Every image is shown once an epoch, in an order drawn anew each epoch. Share `p` of a global batch holds its elements
    p, p + parts, p + 2 parts, ...: the union over shares does not depend on their number.
    """

    def __init__(
        self, length: int, batch: int, seed: int, *, start: int = 0, mirror: bool = False, part: int = 0, parts: int = 1
    ) -> None:
        self.length, self.batch, self.seed, self.start = length, batch, seed, start
        self.mirror, self.part, self.parts = mirror, part, parts

    def __iter__(self) -> Iterator[list[tuple[int, bool]]]:
        position, epoch, order, flips = self.start, -1, np.empty(0, np.int64), np.empty(0, bool)
        while True:
            batch = []
            for offset in range(self.batch):
                now, within = divmod(position + offset, self.length)
                if now != epoch:
                    rng = np.random.default_rng([self.seed, now])
                    epoch, order = now, rng.permutation(self.length)
                    flips = rng.uniform(size=self.length) < 0.5
                if offset % self.parts == self.part:
                    batch.append((int(order[within]), bool(self.mirror and flips[within])))
            yield batch
            position += self.batch


class _Pictures(Dataset[Tensor]):
    def __init__(self, images: ImageSet) -> None:
        self.images = images

    def __getitem__(self, item: tuple[int, bool]) -> Tensor:
        index, flip = item
        pixels = self.images[index]
        return pixels.flip(-1) if flip else pixels


def image_batches(
    images: ImageSet,
    batch: int,
    seed: int,
    *,
    start: int = 0,
    mirror: bool = False,
    part: int = 0,
    parts: int = 1,
    workers: int = 0,
) -> Iterator[Tensor]:
    """Endless uint8 batches [batch / parts, 3, R, R] from position `start` of the shuffle."""
    order = EndlessShuffle(len(images), batch, seed, start=start, mirror=mirror, part=part, parts=parts)
    return iter(DataLoader(_Pictures(images), batch_sampler=order, num_workers=workers))
