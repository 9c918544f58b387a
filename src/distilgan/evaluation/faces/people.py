"""Who is in a picture, from which side: identification, and figures angle by angle."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from distilgan.data.face_pairs import FacePairs
from distilgan.data.images import to_float

ByYaw = dict[str, float]  # yaw in whole degrees, or "unknown" -> value
BATCH = 32
FRONTAL = 7.5
"""Degrees of yaw below which a face counts as frontal already, and is left out of means."""


class People:
    """Who is in a picture: cosines with the true frontal face, and the nearest of a gallery of one true face a person.

    The gallery has the first frontal face of each person; a probe is a picture whose own partner is not in it, or any picture of a
    person who has one partner only.
    """

    def __init__(self, identity: nn.Module, pairs: FacePairs) -> None:
        self.identity, self.person = identity, pairs.identity
        first = {person: i for i, person in reversed(list(enumerate(pairs.identity.tolist())))}
        rows = [first[person] for person in range(len(pairs.identities))]
        self.gallery = torch.cat([self._directions(to_float(pairs[i][1])[None]) for i in rows])
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

    def figures(self, pictures: Tensor, rows: Tensor, truth: Tensor) -> dict[str, Tensor]:
        """Of what was made of some rows of the pairs, [N] each.

        rank1: 1 where the nearest face of the gallery is the right person's, NaN for what is no probe. identity_truth: cosine
        with the own true frontal face. identity_other: with the nearest of other people in the gallery. Of one person alone the
        second: there is nobody to take the face for.
        """
        found, person = self._directions(pictures), self.person[rows]
        alike = {"identity_truth": (found * self._directions(truth)).sum(1).double()}
        if len(self.gallery) < 2:
            return alike
        cosines = (found @ self.gallery.t()).double()
        others = cosines.scatter(1, person[:, None], -1.0)
        return {
            "rank1": torch.where(self.probe[rows], (cosines.argmax(1) == person).double(), float("nan")),
            **alike,
            "identity_other": others.max(1).values,
        }

    @torch.no_grad()
    def _directions(self, pictures: Tensor) -> Tensor:
        found: Tensor = self.identity(pictures).cpu()
        return found


def turned(yaw: Tensor) -> Tensor:
    """Whether a face is to be turned at all; unknown ones are."""
    return ~(yaw.abs() < FRONTAL)


def means_by_yaw(figures: dict[str, Tensor], yaw: Tensor) -> tuple[dict[str, float], dict[str, ByYaw]]:
    """Means over all turned faces, and at each angle; NaN is left out, and so is an angle that has nothing else."""
    counted = turned(yaw)
    labels = ["unknown" if math.isnan(y) else f"{round(y)}" for y in yaw.tolist()]
    angles = sorted(set(labels), key=lambda label: math.inf if label == "unknown" else int(label))
    masks = {label: torch.tensor([other == label for other in labels]) for label in angles}
    means, by_yaw = {}, {}
    for name, values in figures.items():
        found = {label: _mean(values[mask]) for label, mask in masks.items()}
        by_yaw[name] = {label: value for label, value in found.items() if value is not None}
        whole = _mean(values[counted])
        if whole is not None:
            means[name] = whole
    return means, by_yaw


def _mean(values: Tensor) -> float | None:
    known = values[~values.isnan()]
    return float(known.mean()) if len(known) else None
