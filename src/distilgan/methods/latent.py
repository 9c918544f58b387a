"""What methods share whose generator draws pictures from latents."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from distilgan.data.feed import Batch, Feed
from distilgan.data.grid import real_row
from distilgan.data.images import ImageSet, to_uint8
from distilgan.data.pairs import PairStore
from distilgan.devices import to_device
from distilgan.methods.base import Method
from distilgan.networks.generator import ImageGenerator
from distilgan.networks.pretrained import Pretrained

COLUMNS = 10


class LatentMethod(Method[Batch, ImageGenerator]):
    """A generator against its critic.

    Attributes:
        images: the real images. labelled: whether they must have classes. store: pairs of a teacher that batches bring along.
    """

    labelled = False
    store: PairStore | None = None
    images: ImageSet

    discriminator: Pretrained

    def lessons(self) -> Feed:
        return Feed(self.images, labelled=self.labelled, pairs=self.store)

    def references(self, inputs: dict[str, Any]) -> Tensor | None:
        """The teacher's pictures for the sample grid's inputs, if there is a teacher."""
        return None

    def grid_inputs(self, n: int, generator: torch.Generator) -> dict[str, Any]:
        """Arguments of the generator for the sample grid; the classes in turn."""
        inputs = self.generator.sample_inputs(n, generator)
        if "label" in inputs:
            inputs["label"] = torch.arange(n) % self.generator.num_classes
        return inputs

    @torch.no_grad()
    def sample_rows(self, average: ImageGenerator, seed: int) -> list[Tensor]:
        """real | teacher | student, the two on the same inputs."""
        generator = torch.Generator().manual_seed(seed)
        inputs = to_device(self.grid_inputs(COLUMNS, generator), next(average.parameters()).device)
        rows = [real_row(self.images, COLUMNS, inputs.get("label"))]
        teacher = self.references(inputs)
        if teacher is not None:
            rows.append(to_uint8(teacher))
        return [*rows, to_uint8(average(**inputs))]
