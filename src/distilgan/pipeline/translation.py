"""Runs that make translators of photos into a style."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from distilgan.data.crops import CropSet
from distilgan.data.translation_pairs import TranslationPairs
from distilgan.data.unpaired import TranslationFeed
from distilgan.evaluation.cost import count_macs, count_parameters
from distilgan.evaluation.translation.card import translation_card
from distilgan.evaluation.translation.measure import TranslationResult, open_crops, read_translation_result
from distilgan.evaluation.translation.named import check_size, measure_translation, protocol_of, translation_hashes
from distilgan.evaluation.translation.report import write_translation_report
from distilgan.evaluation.translation.translators import TorchTranslator, open_translator
from distilgan.files import write_atomic
from distilgan.methods.translation import TranslationMethod
from distilgan.networks.ode_translator import ODEConfig
from distilgan.networks.pretrained import read_config
from distilgan.networks.resnet_translator import ResnetTranslator
from distilgan.perception.features import build_extractor
from distilgan.perception.perceptual import build_perceptual
from distilgan.pipeline.kind import Kind
from distilgan.pipeline.steps import export, own_licence, say, teacher_facts, write_card
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
        from distilgan.export.onnx import check_folder, check_packages

        protocol = protocol_of(self.recipe)
        for name in (protocol.data, protocol.style):
            if name is not None:
                open_crops(protocol, name)
        check_size(TorchTranslator(method.generator, self.recipe.name), protocol.resolution)
        build_extractor(protocol.extractor)
        build_perceptual(protocol.perceptual)
        check_packages()
        check_folder(run.path / "export")

    def facts(self) -> dict[str, Any]:
        return teacher_facts(self.recipe.teacher if isinstance(self.recipe, NijiGANRecipe) else None)

    def learnt(self, data: Pictures) -> dict[str, Any]:
        return {"style": self.recipe.data.style}

    def finish(self, run: Run, data: Pictures, device: str) -> None:
        if self._exports(run):
            export(run)
        result = self._measure(run, device)
        card = translation_card(
            self.recipe, result, own_licence(run, self.recipe), load_model(run.path, ResnetTranslator)
        )
        write_card(run, card)
        name = self.recipe.compared_with
        write_translation_report(
            run.path / "report.html", self.recipe, result, protocol_of(self.recipe), open_translator(str(run.path)),
            open_translator(name) if name else None, run.path / "log.jsonl", card,
        )  # fmt: skip

    def _exports(self, run: Run) -> bool:
        """Whether the solver takes a number of steps that a graph can hold."""
        config = load_model(run.path, ResnetTranslator).config
        return not (isinstance(config, ODEConfig) and config.solver == "dopri5")

    def _measure(self, run: Run, device: str) -> TranslationResult:
        """Evaluate a finished run by its recipe's protocol, unless that was done, and write `metrics.json`."""
        path, protocol = run.path / "metrics.json", replace(protocol_of(self.recipe), device=device)
        key = {**asdict(protocol), **translation_hashes(str(run.path), protocol, self.recipe.compared_with)}
        known = read_translation_result(path)
        if known is not None and key.items() <= known.protocol.items():
            return known
        say("measuring")
        file = run.path / "export" / "model.onnx"
        onnx = {"ONNX": str(file)} if file.exists() else {}
        result = measure_translation(str(run.path), protocol, self.recipe.compared_with, onnx)
        result.protocol |= {**key, "trained": read_config(run.student).get("trained")}
        write_atomic(path, result.to_json())
        return result

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
