"""Runs that make networks which tell people apart."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch

from distilgan.data.archives import data_sha256
from distilgan.data.face_pairs import FacePairs, people_digest
from distilgan.evaluation.cost import count_parameters
from distilgan.evaluation.faces.identification import evaluate_identity, identity_card, write_identity_report
from distilgan.evaluation.faces.measure import FrontalProtocol, read_frontal_result
from distilgan.evaluation.protocol import versions
from distilgan.files import write_atomic
from distilgan.methods.identity import IdentityTraining
from distilgan.networks.identity import IdentityNetwork
from distilgan.networks.pretrained import network_sha256, read_config
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
        from distilgan.export.onnx import check_folder, check_packages

        open_held_out(self.recipe, data)
        check_packages()
        check_folder(run.path / "export")

    def learnt(self, data: FacePairs) -> dict[str, Any]:
        return {"people": people_digest(data)}

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
        path = run.path / "metrics.json"
        hashes = {
            "data_sha256": data_sha256(protocol.data),
            "student_sha256": network_sha256(network),
            "versions": versions(),
        }
        key, result = {**asdict(protocol), **hashes}, read_frontal_result(path)
        if result is None or not key.items() <= result.protocol.items():
            say("measuring")
            result = evaluate_identity(network, data if held_out is None else held_out, protocol, str(run.path))
            result.protocol |= {**key, "trained": read_config(run.student).get("trained")}
            write_atomic(path, result.to_json())
        card = identity_card(self.recipe, result, own_licence(run, self.recipe))
        write_card(run, card)
        write_identity_report(run.path / "report.html", self.recipe, result, run.path / "log.jsonl", card)

    def plan(self, method: IdentityTraining, data: FacePairs) -> dict[str, Any]:
        return {"pairs": len(data), "people": len(data.identities), "parameters": count_parameters(method.generator)}
