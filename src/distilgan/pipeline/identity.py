"""Runs that make networks which tell people apart."""

from __future__ import annotations

from typing import Any

import torch

from distilgan.data.face_pairs import FacePairs
from distilgan.evaluation.cost import count_parameters
from distilgan.methods.identity import IdentityTraining
from distilgan.pipeline.faces import open_faces, open_held_out, skipped_faces
from distilgan.pipeline.kind import Kind
from distilgan.recipe import IdentityRecipe
from distilgan.runs import Run


class IdentityKind(Kind[IdentityRecipe, FacePairs]):
    """identity."""

    def open_data(self) -> FacePairs:
        return open_faces(self.recipe)

    def skipped(self, data: FacePairs) -> tuple[int, str]:
        return skipped_faces(data)

    def build(
        self, data: FacePairs, device: str | torch.device = "cpu", *, weights_follow: bool = False
    ) -> IdentityTraining:
        return IdentityTraining(self.recipe, data)

    def check_ends(self, run: Run, method: IdentityTraining, data: FacePairs) -> None:
        open_held_out(self.recipe, data)

    def facts(self) -> dict[str, Any]:
        return {}

    def finish(self, run: Run, data: FacePairs, device: str) -> None:
        raise NotImplementedError

    def plan(self, method: IdentityTraining, data: FacePairs) -> dict[str, Any]:
        return {"pairs": len(data), "people": len(data.identities), "parameters": count_parameters(method.generator)}
