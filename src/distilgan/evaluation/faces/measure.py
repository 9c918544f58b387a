"""Measuring how well faces are turned to the front, angle by angle: pictures, people, symmetry, cost; each with its protocol."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from distilgan.data.face_pairs import FacePairs
from distilgan.evaluation.agreement import picture_agreement
from distilgan.evaluation.faces.people import BATCH, ByYaw, People, means_by_yaw, turned
from distilgan.evaluation.protocol import versions
from distilgan.perception.perceptual import build_perceptual

Turn = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class FrontalProtocol:
    """What a figure depends on besides the network measured."""

    data: str
    resolution: int
    held_out: bool | None = None
    limit: int | None = None
    identity: str | None = None
    perceptual: str = "efficientnet-lite0"
    latency_runs: int = 30
    device: str = "cpu"


@dataclass
class FrontalResult:
    """Figures by name; `metrics.json` of a run.

    `metrics` are the student's, `teacher` the teacher's, `profile` those of the faces as they are, `truth` those of the true
    frontal faces, which no network can be expected to surpass. `by_yaw` has the same angle by angle: whose -> name -> yaw -> value.
    """

    source: str
    metrics: dict[str, float] = field(default_factory=dict)
    teacher: dict[str, float] = field(default_factory=dict)
    profile: dict[str, float] = field(default_factory=dict)
    truth: dict[str, float] = field(default_factory=dict)
    by_yaw: dict[str, dict[str, ByYaw]] = field(default_factory=dict)
    cost: dict[str, dict[str, Any]] = field(default_factory=dict)
    protocol: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"


def read_frontal_result(path: Path) -> FrontalResult | None:
    """What `FrontalResult.to_json` wrote into `path`; None where there is none, or a damaged one."""
    try:
        return TypeAdapter(FrontalResult).validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def evaluate_frontal(
    name: str, student: Turn, pairs: FacePairs, protocol: FrontalProtocol, teacher: Turn | None = None,
    identity: nn.Module | None = None,
) -> FrontalResult:  # fmt: skip
    """Measure what `student` makes of held-out pairs, beside the teacher and the faces as they are.

    Args:
        student, teacher: aligned faces [N, 3, R, R] in [-1, 1] and landmarks [N, 5, 2] to frontal faces.
        identity: faces to unit vectors [N, D]; without it people are not compared.
    """
    perceptual = build_perceptual(protocol.perceptual)
    people = People(identity, pairs) if identity is not None else None
    whose: dict[str, dict[str, list[Tensor]]] = {}
    for rows in torch.split(torch.arange(len(pairs)), BATCH):
        batch = pairs.batch(rows.tolist()).to(torch.device("cpu"))
        truth = batch.frontal
        taught = None if teacher is None else teacher(batch.profile, batch.landmarks).clamp(-1, 1)
        made = {"student": student(batch.profile, batch.landmarks).clamp(-1, 1)}
        made |= {} if taught is None else {"teacher": taught}
        for who, pictures in {**made, "profile": batch.profile, "truth": truth}.items():
            figures = {"asymmetry": _asymmetry(pictures)}
            if who != "truth":
                figures |= {f"{k}_truth": v for k, v in picture_agreement([(truth, pictures)], perceptual).items()}
            if who == "student" and taught is not None:
                figures |= {f"{k}_teacher": v for k, v in picture_agreement([(taught, pictures)], perceptual).items()}
            if people is not None:
                figures |= people.figures(pictures, rows, truth)
            for figure, values in figures.items():
                whose.setdefault(who, {}).setdefault(figure, []).append(values)

    result = FrontalResult(name)
    targets = {"student": result.metrics, "teacher": result.teacher, "profile": result.profile, "truth": result.truth}
    for who, found in whose.items():
        means, angles = means_by_yaw({k: torch.cat(v) for k, v in found.items()}, pairs.yaw)
        targets[who] |= means
        result.by_yaw[who] = angles
    result.protocol = {
        **asdict(protocol),
        "pairs": len(pairs),
        "turned": int(turned(pairs.yaw).sum()),
        "aligned": not pairs.landmarked,
        "people": len(pairs.identities),
        "versions": versions(),
        "ssim": "Gaussian window 11 px where it fits, sigma 1.5, RGB, in [0, 1]",
        "psnr": "mean of single pictures' dB, RGB, peak 1 of [0, 1]",
    }
    if people is not None:
        result.protocol["gallery"] = len(people.gallery)
        result.protocol["probes"] = int((people.probe & turned(pairs.yaw)).sum())
    return result


def _asymmetry(pictures: Tensor) -> Tensor:
    """Mean absolute difference from the mirror image, [N], in [0, 2]."""
    return (pictures - pictures.flip(-1)).abs().mean((1, 2, 3)).double()
