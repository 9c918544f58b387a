"""Features of pictures, in an order whose first so many stand for all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from distilgan.data.archives import data_sha256
from distilgan.data.images import ImageSet
from distilgan.errors import UserError
from distilgan.evaluation.per_class import Sample
from distilgan.evaluation.sources import BATCH, Folder, Generator, OnnxFile, mixed_order
from distilgan.networks.pretrained import network_sha256
from distilgan.perception.features import Extractor

_known_features: dict[tuple[Any, ...], Tensor] = {}


def sample_of(
    source: Folder | Generator | OnnxFile,
    extractor: Extractor,
    count: int,
    seed: int,
    classes: list[int] | None,
    keep: bool = False,
) -> Sample:
    """`count` pictures of a source, at most; of a generator with the `classes` in turn. Without `classes` no labels.

    Args:
        keep: a generator's features, for the next call of this process with the same weights: a teacher's.

    Raises:
        UserError: fewer than 8 pictures, or a set that has classes for some of its images only.
    """
    key: tuple[Any, ...] | None = None
    if keep and isinstance(source, Generator):
        drawn = network_sha256(source.network), source.truncation, source.device, count, seed, *(classes or [])
        key = (*drawn, extractor.name, extractor.weights)
    features = _once(key, lambda: _features(source.pixels(count, seed, classes), extractor, source.name))
    return Sample(features, None if classes is None else source.labels(count, classes))


def sample_of_set(images: ImageSet, extractor: Extractor, with_classes: bool) -> Sample:
    """A whole set; one that has classes in a mixed order, as names often sort by class.

    Raises:
        UserError: fewer than 8 images, or (`with_classes`) classes for some of them only.
    """
    features = _features_of_set(images, extractor)
    if not images.labelled:
        return Sample(features, None)
    order = mixed_order(len(images))
    return Sample(features[order], images.labels[order] if with_classes else None)


def _features_of_set(images: ImageSet, extractor: Extractor) -> Tensor:
    """Features in the order of `images.names`; a process that measures many generators extracts each set once."""
    # The names, not their number: a limit puts the same images into another order.
    key = (data_sha256(str(images.path)), *images.names, images.resolution, extractor.name, extractor.weights)
    return _once(key, lambda: _features(images.batches(BATCH), extractor, str(images.path)))


def _once(key: tuple[Any, ...] | None, make: Callable[[], Tensor]) -> Tensor:
    """What `make` gives, kept for the next call with `key` in this process; None: not kept."""
    if key is None:
        return make()
    if key not in _known_features:
        _known_features[key] = make()
    return _known_features[key]


@torch.no_grad()
def _features(batches: Iterable[Tensor], extractor: Extractor, name: str) -> Tensor:
    features = torch.cat([extractor(batch) for batch in batches])
    if len(features) < 8:
        raise UserError(f"{name}: {len(features)} pictures are too few to measure; give at least 8")
    return features
