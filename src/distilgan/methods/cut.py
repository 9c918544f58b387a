"""CUT and Scenimefy: training a translator from nothing, on unpaired pictures and, if there are any, pairs.

The objective is that of `methods.translation`: CUT is its first two terms with `identity`, FastCUT the second at weight 10 with
mirrored batches, Scenimefy SRC, hDCE and the supervised branch on the pairs.
"""

from __future__ import annotations

from torch import Tensor

from distilgan.data.unpaired import TranslationBatch, TranslationFeed
from distilgan.errors import UserError
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

    def partners(self, batch: TranslationBatch) -> tuple[Tensor | None, Tensor | None]:
        return batch.paired_photo, batch.paired_style
