"""Runs that make networks which turn faces to the front."""

from __future__ import annotations

from typing import Any

import torch

from distilgan.data.face_pairs import FacePairs
from distilgan.evaluation.cost import count_macs, count_parameters
from distilgan.methods.frontal import FrontalMethod
from distilgan.networks.tpgan import TPGAN
from distilgan.pipeline.faces import open_faces, open_held_out, open_identity, skipped_faces
from distilgan.pipeline.kind import Kind
from distilgan.pipeline.steps import teacher_facts
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
        network = open_identity(recipe.identity_network)
        if isinstance(recipe, TPGANRecipe):
            from distilgan.methods.tpgan import TPGANTraining

            return TPGANTraining(recipe, data, network)
        from distilgan.methods.metakd import MetaKD

        return MetaKD(recipe, data, network)

    def check_ends(self, run: Run, method: FrontalMethod, data: FacePairs) -> None:
        from distilgan.export.onnx import check_folder, check_packages

        open_held_out(self.recipe, data)
        open_identity(self.recipe.evaluation.identity)
        check_packages()
        check_folder(run.path / "export")

    def facts(self) -> dict[str, Any]:
        return teacher_facts(self.recipe.teacher if isinstance(self.recipe, MetaKDRecipe) else None)

    def finish(self, run: Run, data: FacePairs, device: str) -> None:
        raise NotImplementedError

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
