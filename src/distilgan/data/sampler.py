"""Which image comes when: an endless shuffle that is a pure function of (seed, position), so that it can resume anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

WINDOW = 8
"""Files whose items are mixed with each other: a set larger than memory is then read almost in sequence."""


class EndlessShuffle(Sampler[list[tuple[int, bool]]]):
    """Batches of (index, flipped?) from position `start` on, for one of `parts` equal shares of each batch.

    Every item is shown once an epoch, in an order drawn anew each epoch. Share `p` of a global batch holds its elements
    p, p + parts, p + 2 parts, ...: the union over shares does not depend on their number.

    Args:
        length: number of items; or the lengths of the files that hold them, which are then read `WINDOW` at a time.
        stream: sources that are shuffled side by side with one seed need different ones.
    """

    def __init__(
        self, length: int | Sequence[int], batch: int, seed: int, *,
        start: int = 0, mirror: bool = False, part: int = 0, parts: int = 1, stream: int = 0,
    ) -> None:  # fmt: skip
        self.files = [length] if isinstance(length, int) else list(length)
        self.length, self.batch, self.seed, self.start = sum(self.files), batch, seed, start
        self.mirror, self.part, self.parts, self.stream = mirror, part, parts, stream

    def __iter__(self) -> Iterator[list[tuple[int, bool]]]:
        position, epoch, order, flips = self.start, -1, np.empty(0, np.int64), np.empty(0, bool)
        while True:
            batch = []
            for offset in range(self.batch):
                now, within = divmod(position + offset, self.length)
                if now != epoch:
                    rng = np.random.default_rng([self.seed, now, self.stream])
                    epoch, order = now, self._order(rng)
                    flips = rng.uniform(size=self.length) < 0.5
                if offset % self.parts == self.part:
                    batch.append((int(order[within]), bool(self.mirror and flips[within])))
            yield batch
            position += self.batch

    def _order(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """The indices of an epoch: files in random order, the items of each `WINDOW` of them mixed."""
        if len(self.files) <= WINDOW:
            return rng.permutation(self.length)
        first = np.cumsum([0, *self.files])
        items = [np.arange(first[f], first[f + 1]) for f in rng.permutation(len(self.files))]
        return np.concatenate(
            [rng.permutation(np.concatenate(items[i : i + WINDOW])) for i in range(0, len(items), WINDOW)]
        )
