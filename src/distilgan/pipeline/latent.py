"""Runs that make generators of pictures from latents."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar

import torch

from distilgan.data.images import ImageSet
from distilgan.data.pairs import read_manifest
from distilgan.errors import UserError
from distilgan.evaluation.card import model_card
from distilgan.evaluation.cost import count_macs, count_parameters
from distilgan.evaluation.evaluate import evaluate
from distilgan.evaluation.protocol import Protocol, Result, data_hashes, protocol_of, read_result, versions
from distilgan.evaluation.reference import check_same_classes, open_lesson, open_reference
from distilgan.files import write_atomic
from distilgan.methods.latent import LatentMethod
from distilgan.networks.generator import ImageGenerator
from distilgan.networks.pretrained import network_sha256, read_config
from distilgan.perception.features import build_extractor
from distilgan.pipeline.kind import Kind
from distilgan.pipeline.steps import export, own_licence, say, teacher_facts, write_card
from distilgan.recipe import BigGANRecipe, DistillRecipe, GANRecipe, LatentRecipe, StyleKDRecipe, TinyGANRecipe
from distilgan.runs import Run, load_model


class LatentKind(Kind[LatentRecipe, ImageSet]):
    """gan, stylekd, biggan, tinygan."""

    changes: ClassVar[dict[str, str]] = {**Kind.changes, "pairs": "the store has other pairs"}

    def open_data(self) -> ImageSet:
        d = self.recipe.data
        return ImageSet(d.path, d.resolution, strict=d.strict, limit=d.limit)

    def skipped(self, data: ImageSet) -> tuple[int, str]:
        first = data.skipped[0] if data.skipped else None
        return len(data.skipped), f"{first.name}: {first.reason}" if first else ""

    def build(
        self, data: ImageSet, device: str | torch.device = "cpu", *, weights_follow: bool = False
    ) -> LatentMethod:
        method = self._build(data, device, weights_follow)
        method.images = data
        return method

    def _build(self, data: ImageSet, device: str | torch.device, weights_follow: bool) -> LatentMethod:
        recipe = self.recipe
        if isinstance(recipe, GANRecipe):
            from distilgan.methods.gan import GAN

            return GAN(recipe)
        if isinstance(recipe, StyleKDRecipe):
            from distilgan.methods.stylekd import StyleKD

            if weights_follow:  # channels may be chosen blindly, as scoring them takes minutes
                student = recipe.student.model_copy(update={"score": "random"})
                recipe = recipe.model_copy(update={"student": student})
            return StyleKD(recipe, device)
        if isinstance(recipe, BigGANRecipe):
            from distilgan.methods.biggan import BigGANTraining

            return BigGANTraining(recipe, data.num_classes)
        from distilgan.methods.teaching import Teaching
        from distilgan.methods.tinygan import TinyGANDistillation

        teaching = Teaching(recipe)
        data.check_classes(teaching.num_classes, "the teacher", every=True)
        return TinyGANDistillation(recipe, teaching)

    def check_ends(self, run: Run, method: LatentMethod, data: ImageSet) -> None:
        from distilgan.export.onnx import check_folder, check_packages

        protocol = protocol_of(self.recipe)
        reference = open_reference(protocol, self.recipe.data.resolution)
        if reference is not None and method.generator.num_classes:
            check_same_classes(data, reference)
            if reference.labelled:
                reference.check_classes(method.generator.num_classes, "the generator")
            open_lesson(protocol, reference)
        _check_truncations(protocol, method, self.recipe.compared_with)
        build_extractor(protocol.extractor)
        check_packages()
        check_folder(run.path / "export")

    def facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = {}
        recipe = self.recipe
        if isinstance(recipe, TinyGANRecipe) and recipe.uses_pairs:
            facts["pairs_truncation"] = recipe.pairs.truncation
            if (
                recipe.pairs.store and (Path(recipe.pairs.store) / "manifest.json").is_file()
            ):  # a finished run needs none
                made = read_manifest(Path(recipe.pairs.store))
                facts |= {"teacher": made.teacher, "teacher_licence": made.licence, "pairs": made.identity}
                facts["teacher_sha256"] = made.teacher_sha256
        return facts | teacher_facts(recipe.teacher if isinstance(recipe, DistillRecipe) else None)

    def finish(self, run: Run, data: ImageSet, device: str) -> None:
        export(run)
        result = measure(run, self.recipe, device)
        card = describe(run, self.recipe, result)
        _report(run, self.recipe, data, result, card)

    def plan(self, method: LatentMethod, data: ImageSet) -> dict[str, Any]:
        generator, discriminator = method.finished(method.generator)
        example = generator.sample_inputs(1)
        facts: dict[str, Any] = {
            "images": len(data),
            "skipped": len(data.skipped),
            "generator_parameters": count_parameters(generator),
            "generator_macs": count_macs(generator.eval(), **example),
            "generator_channels": generator.config.channels,
        }
        if discriminator is not None:
            facts["discriminator_parameters"] = count_parameters(discriminator)
        if name := self.recipe.compared_with:
            teacher = load_model(name, ImageGenerator)
            facts |= {"teacher_parameters": count_parameters(teacher), "teacher_macs": count_macs(teacher, **example)}
        return facts


def _check_truncations(protocol: Protocol, method: LatentMethod, teacher: str | None) -> None:
    try:
        method.generator.check_truncation(protocol.truncation)
        if teacher:
            load_model(teacher, ImageGenerator).check_truncation(protocol.teacher_truncation or protocol.truncation)
    except ValueError as error:
        raise UserError(f"evaluation.truncation={protocol.truncation:g}: {error}") from error


def measure(run: Run, recipe: LatentRecipe, device: str = "cpu") -> Result:
    """Evaluate a finished run by its recipe's protocol, unless that was done, and write `metrics.json`."""
    path, teacher = run.path / "metrics.json", recipe.compared_with
    protocol = replace(protocol_of(recipe), device=device)
    onnx = run.path / "export" / "model.onnx"
    key = {
        **asdict(protocol),
        "student_sha256": network_sha256(load_model(run.path, ImageGenerator)),
        "teacher_sha256": network_sha256(load_model(teacher, ImageGenerator)) if teacher else None,
        **data_hashes(protocol),
        "versions": versions(),
    }
    known = read_result(path)
    if known is not None and key.items() <= known.protocol.items():
        return known
    say("measuring")
    result = evaluate(str(run.path), protocol, teacher, {"ONNX": str(onnx)} if onnx.exists() else None)
    result.protocol |= {**key, "trained": read_config(run.student).get("trained")}
    write_atomic(path, result.to_json())
    return result


def describe(run: Run, recipe: LatentRecipe, result: Result) -> str:
    """Write the model card and the licence into `student/`; returns the card."""
    card = model_card(recipe, result, own_licence(run, recipe), load_model(run.path, ImageGenerator))
    write_card(run, card)
    return card


def _report(run: Run, recipe: LatentRecipe, images: ImageSet, result: Result, card: str) -> None:
    """Write `report.html`."""
    from distilgan.evaluation.report import write_report

    name = recipe.compared_with
    teacher = load_model(name, ImageGenerator) if name else None
    path, student = run.path / "report.html", load_model(run.path, ImageGenerator)
    write_report(path, recipe, result, student, teacher, images, run.path / "log.jsonl", card)
