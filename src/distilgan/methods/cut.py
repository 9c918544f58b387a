"""CUT and Scenimefy: training a translator from nothing, on unpaired pictures and, if there are any, pairs.

The objective is that of `methods.translation`: CUT is its first two terms with `identity`, FastCUT the second at weight 10 with
mirrored batches, Scenimefy SRC, hDCE and the supervised branch on the pairs. With `warm_up` the generator first reproduces,

    E |G(x) - x| + E |G(y) - y|,

as a style is soon put on what is a picture already, and thousands of steps are needed to make one of noise.

Sources: those of `methods.translation`; Chen et al., "CartoonGAN", CVPR 2018, section 3.3 (the warm-up, there in VGG's features).
"""

from __future__ import annotations

import torch
from torch import Tensor

from distilgan.data.unpaired import TranslationBatch, TranslationFeed
from distilgan.errors import UserError
from distilgan.losses.feature_matching import pixel_distance
from distilgan.methods.base import Terms, add_terms
from distilgan.methods.draws import Draws
from distilgan.methods.translation import TranslationMethod
from distilgan.networks.resnet_translator import CUTTranslator, ResnetConfig
from distilgan.recipe import CUTRecipe


class CUTTraining(TranslationMethod):
    """Without a teacher."""

    def __init__(self, recipe: CUTRecipe, feed: TranslationFeed) -> None:
        n = recipe.network
        try:
            config = ResnetConfig(list(n.channels), n.blocks, n.antialias, n.antialias_up, recipe.data.resolution)
        except ValueError as error:
            raise UserError(f"network or data.{error}") from error
        super().__init__(recipe, feed, CUTTranslator(config))
        self.warm_up = recipe.unsupervised.warm_up

    def partners(self, batch: TranslationBatch) -> tuple[Tensor | None, Tensor | None]:
        return batch.paired_photo, batch.paired_style

    def step(self, batches: list[TranslationBatch], draws: list[Draws]) -> Terms:
        return super().step(batches, draws) if draws[0].images >= self.warm_up else self._reproduce(batches)

    def _reproduce(self, batches: list[TranslationBatch]) -> Terms:
        """A step of the warm-up: the generator's alone."""
        report: Terms = {}
        for i, batch in enumerate(batches):
            with self._sync("generator", last=i == len(batches) - 1):
                pictures = torch.cat([batch.photo, batch.style])
                with self.engine.autocast():
                    made = self.played["generator"](pictures)
                loss = 2 * pixel_distance(made.float(), pictures)
                self.engine.backward(loss / len(batches))
            add_terms(report, {"reproduction": loss}, 1 / len(batches))
        self._update("generator", report)
        self.steps += 1
        return report
