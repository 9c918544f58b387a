"""Runs that make networks which turn faces to the front."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import torch

from distilgan.data.face_pairs import FacePairs
from distilgan.errors import UserError
from distilgan.evaluation.cost import count_macs, count_parameters
from distilgan.evaluation.faces.card import frontal_card
from distilgan.evaluation.faces.frontalizers import open_frontalizer
from distilgan.evaluation.faces.measure import FrontalResult, read_frontal_result
from distilgan.evaluation.faces.named import frontal_hashes, identity_features, measure_frontal, protocol_of
from distilgan.evaluation.faces.report import write_frontal_report
from distilgan.files import write_atomic
from distilgan.methods.frontal import FrontalMethod
from distilgan.networks.pretrained import read_config
from distilgan.networks.tpgan import TPGAN
from distilgan.perception.perceptual import build_perceptual
from distilgan.pipeline.faces import learnt_people, open_faces, open_held_out, skipped_faces
from distilgan.pipeline.kind import Kind
from distilgan.pipeline.steps import export, own_licence, say, teacher_facts, write_card
from distilgan.recipe import FrontalRecipe, MetaKDRecipe, TPGANRecipe
from distilgan.runs import Run, load_model


class FrontalKind(Kind[FrontalRecipe, FacePairs]):
    """tpgan, metakd."""

    def open_data(self) -> FacePairs:
        return open_faces(self.recipe)

    def skipped(self, data: FacePairs) -> tuple[int, str]:
        return skipped_faces(data)

    def build(
        self, data: FacePairs, device: str | torch.device = "cpu", *, weights_follow: bool = False
    ) -> FrontalMethod:
        recipe = self.recipe
        network = identity_features(recipe.identity_network, "identity_network")
        if network is not None and not network.learnable:
            raise UserError(
                f"identity_network={network.name}: no gradient passes an ONNX file; use it as evaluation.identity"
            )
        if isinstance(recipe, TPGANRecipe):
            from distilgan.methods.tpgan import TPGANTraining

            return TPGANTraining(recipe, data, network)
        from distilgan.methods.metakd import MetaKDDistillation

        return MetaKDDistillation(recipe, data, network)

    def check_ends(self, run: Run, method: FrontalMethod, data: FacePairs) -> None:
        from distilgan.export.onnx import check_folder, check_packages

        open_held_out(self.recipe, data)
        identity_features(self.recipe.evaluation.identity, "evaluation.identity")
        build_perceptual(self.recipe.evaluation.perceptual)
        check_packages()
        check_folder(run.path / "export")

    def facts(self) -> dict[str, Any]:
        return teacher_facts(self.recipe.teacher if isinstance(self.recipe, MetaKDRecipe) else None)

    def learnt(self, data: FacePairs) -> dict[str, Any]:
        known = data.yaw[~data.yaw.isnan()]
        teacher = self.recipe.teacher if isinstance(self.recipe, MetaKDRecipe) else None
        facts: dict[str, Any] = {"people": learnt_people(data, teacher)}
        if not len(known):
            return facts
        first, last = float(known.min()), float(known.max())
        if self.recipe.data.mirror:
            first, last = min(first, -last), max(last, -first)
        return {**facts, "yaw": [first, last]}

    def finish(self, run: Run, data: FacePairs, device: str) -> None:
        export(run)
        result = self._measure(run, data, device)
        card = frontal_card(self.recipe, result, own_licence(run, self.recipe), load_model(run.path, TPGAN))
        write_card(run, card)
        held_out = open_held_out(self.recipe, data)
        student, teacher = open_frontalizer(str(run.path)), self.recipe.compared_with
        write_frontal_report(
            run.path / "report.html", self.recipe, result, student, open_frontalizer(teacher) if teacher else None,
            data if held_out is None else held_out, run.path / "log.jsonl", card,
        )  # fmt: skip

    def _measure(self, run: Run, data: FacePairs, device: str) -> FrontalResult:
        """Evaluate a finished run by its recipe's protocol, unless that was done, and write `metrics.json`."""
        path, protocol = run.path / "metrics.json", replace(protocol_of(self.recipe), device=device)
        key = {**asdict(protocol), **frontal_hashes(str(run.path), protocol, self.recipe.compared_with)}
        known = read_frontal_result(path)
        if known is not None and key.items() <= known.protocol.items():
            return known
        say("measuring")
        held_out = open_held_out(self.recipe, data)
        pairs = data if held_out is None else held_out
        onnx = {"ONNX": str(run.path / "export" / "model.onnx")}
        result = measure_frontal(str(run.path), pairs, protocol, self.recipe.compared_with, onnx)
        result.protocol |= {**key, "trained": read_config(run.student).get("trained")}
        write_atomic(path, result.to_json())
        return result

    def plan(self, method: FrontalMethod, data: FacePairs) -> dict[str, Any]:
        generator, discriminator = method.finished(method.generator)
        example = generator.sample_inputs(1)
        facts: dict[str, Any] = {
            "pairs": len(data),
            "people": len(data.identities),
            "skipped": len(data.skipped),
            "generator_parameters": count_parameters(generator),
            "generator_macs": count_macs(generator.eval(), **example),
        }
        if discriminator is not None:
            facts["discriminator_parameters"] = count_parameters(discriminator)
        if name := self.recipe.compared_with:
            teacher = load_model(name, TPGAN)
            facts |= {"teacher_parameters": count_parameters(teacher), "teacher_macs": count_macs(teacher, **example)}
        return facts
