"""Measuring how well faces are turned to the front, angle by angle: pictures, people, symmetry, cost; each with its protocol."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from distilgan.data.face_pairs import FaceBatch, FacePairs
from distilgan.evaluation.agreement import picture_agreement
from distilgan.evaluation.protocol import versions
from distilgan.perception.perceptual import build_perceptual

Turn = Callable[[Tensor, Tensor], Tensor]
ByYaw = dict[str, float]  # yaw in whole degrees, or "unknown" -> value
_BATCH = 32
FRONTAL = 7.5
"""Degrees of yaw below which a face counts as frontal already, and is left out of means."""


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

    `metrics` are the student's, `teacher` the teacher's, `profile` those of the faces as they are. `by_yaw` has the same figures
    angle by angle: whose -> name -> yaw -> value.
    """

    source: str
    metrics: dict[str, float] = field(default_factory=dict)
    teacher: dict[str, float] = field(default_factory=dict)
    profile: dict[str, float] = field(default_factory=dict)
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
    who: dict[str, Turn] = {"student": student, **({"teacher": teacher} if teacher else {})}
    made = {key: _all(pairs, turn) for key, turn in who.items()}
    faces = _faces(pairs)
    made["profile"], truth = faces.profile, faces.frontal
    people = _People(identity, pairs, truth) if identity is not None else None

    result = FrontalResult(name)
    for key, pictures in made.items():
        figures = {f"{k}_truth": v for k, v in _agreement(truth, pictures, perceptual).items()}
        if key == "student" and teacher is not None:
            figures |= {f"{k}_teacher": v for k, v in _agreement(made["teacher"], pictures, perceptual).items()}
        if people is not None:
            figures |= people.figures(pictures)
        if key != "profile":
            figures["asymmetry"] = _asymmetry(pictures)
        means, angles = _means(figures, pairs.yaw)
        target = {"student": result.metrics, "teacher": result.teacher, "profile": result.profile}[key]
        target |= means
        result.by_yaw[key] = angles
    result.protocol = {
        **asdict(protocol),
        "pairs": len(pairs),
        "turned": int(_turned(pairs.yaw).sum()),
        "people": len(pairs.identities),
        "versions": versions(),
        "ssim": "Gaussian window 11 px, sigma 1.5, RGB, in [0, 1]",
        "psnr": "mean of single pictures' dB, RGB, peak 1 of [0, 1]",
    }
    if people is not None:
        result.protocol["gallery"] = len(people.gallery)
        result.protocol["probes"] = int((people.probe & _turned(pairs.yaw)).sum())
    return result


class _People:
    """Who is in a picture: cosines with the true frontal face, and the nearest of a gallery of one true face a person.

    The gallery has the first frontal face of each person; a probe is a picture whose own partner is not in it, or any picture of a
    person who has one partner only.
    """

    def __init__(self, identity: nn.Module, pairs: FacePairs, truth: Tensor) -> None:
        self.identity, self.person = identity, pairs.identity
        self.truth = self._directions(truth)
        first = {person: i for i, person in reversed(list(enumerate(pairs.identity.tolist())))}
        rows = [first[person] for person in range(len(pairs.identities))]
        self.gallery = self.truth[rows]
        partners: dict[int, set[str]] = {}
        for row, person in zip(pairs.rows, pairs.identity.tolist(), strict=True):
            partners.setdefault(person, set()).add(row.frontal)
        kept = {pairs.rows[i].frontal for i in rows}
        self.probe = torch.tensor(
            [
                row.frontal not in kept or len(partners[p]) == 1
                for row, p in zip(pairs.rows, self.person.tolist(), strict=True)
            ]
        )

    def figures(self, pictures: Tensor) -> dict[str, Tensor]:
        """identity_truth: cosine, [N]. rank1: 1 where the nearest face is the right person's, NaN for what is no probe."""
        found = self._directions(pictures)
        right = ((found @ self.gallery.t()).argmax(1) == self.person).double()
        return {
            "identity_truth": (found * self.truth).sum(1).double(),
            "rank1": torch.where(self.probe, right, float("nan")),
        }

    @torch.no_grad()
    def _directions(self, pictures: Tensor) -> Tensor:
        return torch.cat([self.identity(part).cpu() for part in torch.split(pictures, _BATCH)])


@torch.no_grad()
def _all(pairs: FacePairs, turn: Turn) -> Tensor:
    parts = []
    for rows in torch.split(torch.arange(len(pairs)), _BATCH):
        batch = pairs.batch(rows.tolist()).to(torch.device("cpu"))
        parts.append(turn(batch.profile, batch.landmarks).clamp(-1, 1))
    return torch.cat(parts)


def _faces(pairs: FacePairs) -> FaceBatch:
    return pairs.batch(range(len(pairs))).to(torch.device("cpu"))


def _agreement(truth: Tensor, made: Tensor, perceptual: nn.Module) -> dict[str, Tensor]:
    return picture_agreement(zip(torch.split(truth, _BATCH), torch.split(made, _BATCH), strict=True), perceptual)


def _asymmetry(pictures: Tensor) -> Tensor:
    """Mean absolute difference from the mirror image, [N], in [0, 2]."""
    return (pictures - pictures.flip(-1)).abs().mean((1, 2, 3)).double()


def _turned(yaw: Tensor) -> Tensor:
    """Whether a face is to be turned at all; unknown ones are."""
    return ~(yaw.abs() < FRONTAL)


def _means(figures: dict[str, Tensor], yaw: Tensor) -> tuple[dict[str, float], dict[str, ByYaw]]:
    """Means over all turned faces, and at each angle; NaN is left out, and so is an angle that has nothing else."""
    turned = _turned(yaw)
    labels = ["unknown" if math.isnan(y) else f"{round(y)}" for y in yaw.tolist()]
    angles = sorted(set(labels), key=lambda label: math.inf if label == "unknown" else int(label))
    masks = {label: torch.tensor([other == label for other in labels]) for label in angles}
    means, by_yaw = {}, {}
    for name, values in figures.items():
        found = {label: _mean(values[mask]) for label, mask in masks.items()}
        by_yaw[name] = {label: value for label, value in found.items() if value is not None}
        whole = _mean(values[turned])
        if whole is not None:
            means[name] = whole
    return means, by_yaw


def _mean(values: Tensor) -> float | None:
    known = values[~values.isnan()]
    return float(known.mean()) if len(known) else None
