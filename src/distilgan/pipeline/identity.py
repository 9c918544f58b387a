"""Runs that make networks which tell people apart."""

from __future__ import annotations

from typing import Any

import torch

from distilgan.data.archives import data_sha256
from distilgan.data.face_pairs import FacePairs
from distilgan.evaluation.cost import count_parameters
from distilgan.evaluation.faces.identification import evaluate_identity, identity_card, write_identity_report
from distilgan.evaluation.faces.measure import FrontalProtocol
from distilgan.files import write_atomic
from distilgan.methods.identity import IdentityTraining
from distilgan.networks.identity import IdentityNetwork
from distilgan.networks.pretrained import read_config
from distilgan.pipeline.faces import open_faces, open_held_out, skipped_faces
from distilgan.pipeline.kind import Kind
from distilgan.pipeline.steps import export, own_licence, say, write_card
from distilgan.recipe import IdentityRecipe
from distilgan.runs import Run, load_model


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
        export(run)
        network, e = load_model(run.path, IdentityNetwork), self.recipe.evaluation
        held_out = open_held_out(self.recipe, data)
        protocol = FrontalProtocol(
            data=e.data or self.recipe.data.path,
            resolution=self.recipe.data.resolution,
            held_out=held_out is not None,
            limit=e.limit,
            latency_runs=e.latency_runs,
        )
        say("measuring")
        pairs = data if held_out is None else held_out
        result = evaluate_identity(network, pairs, protocol, str(run.path))
        result.protocol |= {
            "data_sha256": data_sha256(protocol.data),
            "trained": read_config(run.student).get("trained"),
        }
        write_atomic(run.path / "metrics.json", result.to_json())
        card = identity_card(self.recipe, result, own_licence(run, self.recipe))
        write_card(run, card)
        write_identity_report(run.path / "report.html", self.recipe, result, run.path / "log.jsonl", card)

    def plan(self, method: IdentityTraining, data: FacePairs) -> dict[str, Any]:
        return {"pairs": len(data), "people": len(data.identities), "parameters": count_parameters(method.generator)}
