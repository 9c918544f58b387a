"""Which pseudo-pairs are good enough to learn from: figures of a pair, and rules on them.

A translation that shows something else than its photo (or night instead of day) teaches the wrong thing. Two checks need no model:
how far luminance and colour move on the whole. Two need a segmenter: how far both pictures show the same classes at the same
places, and Scenimefy's own rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from distilgan.data.colour import lab

Rule = Literal["agreement", "scenimefy"]
_LEAST_SHARE = 0.01  # of a picture, from which a class counts


@dataclass(frozen=True)
class Figures:
    """Of one pair; those of segmentation are None without a segmenter.

    luminance: mean L* of the translation less the photo's. colour: distance of the means in the a*b* plane. agreement: share of
    pixels of the same class. iou: mean over the classes that cover 1 % in either. cross_entropy: Scenimefy's score. classes: in
    the photo.
    """

    luminance: float
    colour: float
    agreement: float | None = None
    iou: float | None = None
    cross_entropy: float | None = None
    classes: int | None = None


@dataclass(frozen=True)
class Limits:
    """What a pair must keep to. `share`: of all pairs, the best by agreement that stay, instead of `agreement`; None: no such
    cut."""

    luminance: float = 25.0
    colour: float = 40.0
    rule: Rule = "agreement"
    agreement: float = 0.6
    share: float | None = None
    cross_entropy: float = 5.0
    classes: int = 2


def shifts(photo: Tensor, translation: Tensor) -> tuple[float, float]:
    """(luminance, colour) of a pair uint8 [3, H, W]."""
    moved = lab(translation).mean((1, 2)) - lab(photo).mean((1, 2))
    return float(moved[0]), float(moved[1:].norm())


def segmentation_figures(photo: Tensor, translation: Tensor) -> tuple[float, float, float, int]:
    """(agreement, iou, cross_entropy, classes) of scores [K, H, W] of both pictures.

    The cross-entropy is that of Scenimefy's published filter: the translation's scores as logits, the photo's classes as target.
    Its scores are probabilities, so that between 150 classes it lies between 4.02 and 5.02, and its limit of 5.0 refuses little.
    """
    first, second = photo.argmax(0), translation.argmax(0)
    same = float((first == second).float().mean())
    kinds = len(photo)
    shares = [torch.bincount(labels.flatten(), minlength=kinds) / labels.numel() for labels in (first, second)]
    counted = ((shares[0] >= _LEAST_SHARE) | (shares[1] >= _LEAST_SHARE)).nonzero().flatten().tolist()
    overlaps = []
    for kind in counted:
        one, other = first == kind, second == kind
        overlaps.append(float((one & other).sum() / (one | other).sum()))
    entropy = float(F.cross_entropy(translation[None].float(), first[None]))
    return same, sum(overlaps) / max(len(overlaps), 1), entropy, int((shares[0] > 0).sum())


def verdicts(pairs: dict[str, Figures], limits: Limits) -> dict[str, str]:
    """Why each pair is left out, by name; "" for those that stay."""
    cut = least_agreement(pairs, limits)
    return {name: _verdict(pair, limits, cut) for name, pair in pairs.items()}


def least_agreement(pairs: dict[str, Figures], limits: Limits) -> float:
    """The agreement from which on pairs stay."""
    if limits.share is None:
        return limits.agreement
    known = sorted((p.agreement for p in pairs.values() if p.agreement is not None), reverse=True)
    return known[max(0, round(limits.share * len(known)) - 1)] if known else 0.0


def _verdict(pair: Figures, limits: Limits, cut: float) -> str:
    if abs(pair.luminance) > limits.luminance:
        return f"{'brighter' if pair.luminance > 0 else 'darker'} by {abs(pair.luminance):.0f}"
    if pair.colour > limits.colour:
        return f"colour moved by {pair.colour:.0f}"
    if pair.agreement is None or pair.cross_entropy is None or pair.classes is None:
        return ""
    if pair.classes < limits.classes:
        return f"{pair.classes} class in the photo"
    if limits.rule == "scenimefy":
        return "" if pair.cross_entropy < limits.cross_entropy else f"cross-entropy {pair.cross_entropy:.2f}"
    return "" if pair.agreement >= cut else f"{pair.agreement:.0%} of it shows the same"


def nearness(pair: Figures, limits: Limits, cut: float) -> float:
    """How near a pair is to one of the limits, as a share of it; 0 lies on one. `cut`: the least agreement."""
    gaps = [abs(abs(pair.luminance) / limits.luminance - 1), abs(pair.colour / limits.colour - 1)]
    if limits.rule == "scenimefy" and pair.cross_entropy is not None:
        gaps.append(abs(pair.cross_entropy / limits.cross_entropy - 1))
    elif pair.agreement is not None:
        gaps.append(abs(pair.agreement / max(cut, 1e-6) - 1))
    return min(gaps)
