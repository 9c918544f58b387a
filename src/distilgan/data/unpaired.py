"""What a translator learns from: photos, pictures in the style, and, for a supervised branch, pairs of both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from distilgan.data.crops import CropSet, place_at
from distilgan.data.images import to_float
from distilgan.data.sampler import EndlessShuffle
from distilgan.data.translation_pairs import TranslationPairs

_PHOTOS, _STYLE, _PAIRS = 0, 1, 2  # streams of shuffles and places


def picture_layout(device: torch.device) -> torch.memory_format:
    """How pictures and translators lie in memory: instance normalisation copies channels-last ones twice on CPUs."""
    return torch.contiguous_format if device.type == "cpu" else torch.channels_last


@dataclass
class TranslationBatch:
    """One process's share of a step, or a micro-batch of it: crops [n, 3, R, R], uint8, or float in [-1, 1] once on the device."""

    photo: Tensor
    style: Tensor
    paired_photo: Tensor | None = None
    paired_style: Tensor | None = None  # of the same place

    def to(self, device: torch.device) -> TranslationBatch:
        """On `device`, pictures as float."""

        def floats(pixels: Tensor | None) -> Tensor | None:
            if pixels is None:
                return None
            return to_float(pixels.to(device, non_blocking=True)).contiguous(memory_format=picture_layout(device))

        photo, style = floats(self.photo), floats(self.style)
        assert photo is not None
        assert style is not None
        return TranslationBatch(photo, style, floats(self.paired_photo), floats(self.paired_style))


Item = tuple[int, bool, list[float]]


class _Crops(Dataset[Tensor]):
    def __init__(self, pictures: CropSet) -> None:
        self.pictures = pictures

    def __getitem__(self, item: Item) -> Tensor:
        index, flip, place = item
        return self.pictures.crop(index, place, flip)


class _PairCrops(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, pairs: TranslationPairs) -> None:
        self.pairs = pairs

    def __getitem__(self, item: Item) -> tuple[Tensor, Tensor]:
        index, flip, place = item
        return self.pairs.crop(index, place, flip)


class _Placed(EndlessShuffle):
    """Batches of (index, flipped?, place)."""

    def __iter__(self) -> Iterator[list[Item]]:  # type: ignore[override]
        position = self.start
        for batch in super().__iter__():
            mine = range(position + self.part, position + self.batch, self.parts)
            yield [
                (index, flip, place_at(self.seed, at, self.stream))
                for (index, flip), at in zip(batch, mine, strict=True)
            ]
            position += self.batch


class TranslationFeed:
    """Photos and style, each from its own endless shuffle, and pairs if there are any."""

    def __init__(self, photos: CropSet, style: CropSet, pairs: TranslationPairs | None = None) -> None:
        self.photos, self.style, self.pairs = photos, style, pairs

    def batches(
        self, batch: int, seed: int, *,
        start: int = 0, mirror: bool = False, part: int = 0, parts: int = 1, workers: int = 0,
    ) -> Iterator[TranslationBatch]:  # fmt: skip
        """Endless batches of [batch / parts] from position `start` of the shuffles."""

        def order(length: int, stream: int) -> _Placed:
            return _Placed(length, batch, seed, start=start, mirror=mirror, part=part, parts=parts, stream=stream)

        photos = DataLoader(_Crops(self.photos), batch_sampler=order(len(self.photos), _PHOTOS), num_workers=workers)
        styles = DataLoader(_Crops(self.style), batch_sampler=order(len(self.style), _STYLE), num_workers=workers)
        if self.pairs is None:
            for photo, style in zip(photos, styles, strict=True):
                yield TranslationBatch(photo, style)
            return
        pairs = DataLoader(_PairCrops(self.pairs), batch_sampler=order(len(self.pairs), _PAIRS), num_workers=workers)
        for photo, style, (paired_photo, paired_style) in zip(photos, styles, pairs, strict=True):
            yield TranslationBatch(photo, style, paired_photo, paired_style)
