"""Runs that make translators of photos into a style."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from distilgan.data.crops import CropSet
from distilgan.data.translation_pairs import TranslationPairs
from distilgan.data.unpaired import TranslationFeed
from distilgan.evaluation.cost import count_macs, count_parameters
from distilgan.methods.translation import TranslationMethod
from distilgan.networks.resnet_translator import ResnetTranslator
from distilgan.pipeline.kind import Kind
from distilgan.pipeline.steps import teacher_facts
from distilgan.recipe import NijiGANRecipe, TranslationRecipe
from distilgan.runs import Run, load_model


@dataclass
class Pictures:
    """What a translator learns from."""

    photos: CropSet
    style: CropSet
    pairs: TranslationPairs | None


class TranslationKind(Kind[TranslationRecipe, Pictures]):
    """cut, nijigan."""

    def open_data(self) -> Pictures:
        d = self.recipe.data
        photos, style = (
            CropSet(path, d.resolution, d.load, d.zoom, strict=d.strict, limit=d.limit) for path in (d.path, d.style)
        )
        pairs = TranslationPairs(d.pairs, d.resolution, d.zoom, d.limit) if d.pairs else None
        return Pictures(photos, style, pairs)

    def skipped(self, data: Pictures) -> tuple[int, str]:
        both = [*data.photos.skipped, *data.style.skipped]
        return len(both), f"{both[0].name}: {both[0].reason}" if both else ""

    def build(
        self, data: Pictures, device: str | torch.device = "cpu", *, weights_follow: bool = False
    ) -> TranslationMethod:
        feed = TranslationFeed(data.photos, data.style, data.pairs)
        if isinstance(self.recipe, NijiGANRecipe):
            from distilgan.methods.nijigan import NijiGAN

            return NijiGAN(self.recipe, feed)
        from distilgan.methods.cut import CUTTraining

        return CUTTraining(self.recipe, feed)

    def check_ends(self, run: Run, method: TranslationMethod, data: Pictures) -> None:
        pass

    def facts(self) -> dict[str, Any]:
        return teacher_facts(self.recipe.teacher if isinstance(self.recipe, NijiGANRecipe) else None)

    def finish(self, run: Run, data: Pictures, device: str) -> None:
        pass

    def plan(self, method: TranslationMethod, data: Pictures) -> dict[str, Any]:
        generator, discriminator = method.finished(method.generator)
        example = generator.sample_inputs(1)
        facts: dict[str, Any] = {
            "photos": len(data.photos),
            "style": len(data.style),
            "pairs": len(data.pairs) if data.pairs else 0,
            "skipped": self.skipped(data)[0],
            "generator_parameters": count_parameters(generator),
            "generator_macs": count_macs(generator.eval(), **example),
        }
        if discriminator is not None:
            facts["discriminator_parameters"] = count_parameters(discriminator)
        if name := self.recipe.compared_with:
            teacher = load_model(name, ResnetTranslator)
            facts |= {"teacher_parameters": count_parameters(teacher), "teacher_macs": count_macs(teacher, **example)}
        return facts
