"""Measuring translations: nearness to the style and to the teacher, what is kept of the photo, sharpness; with the protocol."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from distilgan.data.crops import CropSet
from distilgan.data.images import to_float, to_uint8
from distilgan.errors import UserError
from distilgan.evaluation.agreement import picture_agreement
from distilgan.evaluation.fidelity import frechet_distance, kernel_distance
from distilgan.evaluation.protocol import thousands, versions
from distilgan.losses.translation import haar
from distilgan.perception.features import Extractor, build_extractor
from distilgan.perception.perceptual import build_perceptual

Translate = Callable[[Tensor], Tensor]
BATCH = 16
_FEWEST = 8


@dataclass(frozen=True, kw_only=True)
class TranslationProtocol:
    """What a figure depends on besides the network measured.

    `data` are photos, `style` pictures in the style (None: nothing is measured against them); of each picture `crops` squares of
    `resolution`, from `zoom` times that size, are used.
    """

    data: str
    style: str | None
    resolution: int
    load: int | None = None
    zoom: float = 1.0
    crops: int = 32
    held_out: bool | None = None
    style_held_out: bool | None = None
    limit: int | None = None
    extractor: str = "efficientnet-lite0"
    perceptual: str = "efficientnet-lite0"
    latency_runs: int = 50
    device: str = "cpu"


@dataclass
class TranslationResult:
    """Figures by name; `metrics.json` of a run.

    `metrics` are the student's, `teacher` the teacher's, `photos` those of the photos as they are, `style` those of the pictures in
    the style. `each` has a photo's figures, means over its crops: photo -> name -> value. `solvers`: an ODE student's pictures
    under other solvers than its own.
    """

    source: str
    metrics: dict[str, float] = field(default_factory=dict)
    teacher: dict[str, float] = field(default_factory=dict)
    photos: dict[str, float] = field(default_factory=dict)
    style: dict[str, float] = field(default_factory=dict)
    each: dict[str, dict[str, float]] = field(default_factory=dict)
    solvers: dict[str, dict[str, float]] = field(default_factory=dict)
    cost: dict[str, dict[str, Any]] = field(default_factory=dict)
    protocol: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"


def read_translation_result(path: Path) -> TranslationResult | None:
    """What `TranslationResult.to_json` wrote into `path`; None where there is none, or a damaged one."""
    try:
        return TypeAdapter(TranslationResult).validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def open_crops(protocol: TranslationProtocol, name: str) -> CropSet:
    """The pictures that `name` stands for, as the protocol reads them."""
    return CropSet(name, protocol.resolution, protocol.load, protocol.zoom, limit=protocol.limit)


def evaluate_translation(
    name: str, student: Translate, protocol: TranslationProtocol, teacher: Translate | None = None
) -> TranslationResult:
    """Measure what `student` makes of crops of photos [N, 3, R, R] in [-1, 1], beside the teacher and the photos themselves.

    Raises:
        UserError: no such data, or fewer than 8 crops of it.
    """
    photos = open_crops(protocol, protocol.data)
    crops = photos.crops(protocol.crops)
    style = open_crops(protocol, protocol.style) if protocol.style else None
    drawn = None if style is None else style.crops(protocol.crops)
    for path, found in ((protocol.data, crops), *([(protocol.style, drawn)] if drawn is not None else [])):
        if len(found) < _FEWEST:
            raise UserError(f"{path}: {len(found)} crops are too few to measure on; give at least {_FEWEST}")

    made = {"photos": crops, "student": _translated(student, crops)}
    if teacher is not None:
        made["teacher"] = _translated(teacher, crops)
    if drawn is not None:
        made["style"] = drawn
    extractor = build_extractor(protocol.extractor, protocol.device)
    features = {who: _features(pictures, extractor) for who, pictures in made.items()}
    suffix = f"{thousands(len(crops))}_{extractor.name}"

    result = TranslationResult(name)
    whose = {"student": result.metrics, "teacher": result.teacher, "photos": result.photos, "style": result.style}
    for who in made:
        for target in ("style", "teacher"):
            if target in features and who not in (target, "style"):
                whose[who][f"fid{suffix}_{target}"] = frechet_distance(features[target], features[who])
                whose[who][f"kid{suffix}_{target}"] = kernel_distance(features[target], features[who])
    figures = _picture_figures(made, protocol)
    for who, values_by_name in figures.items():
        whose[who] |= {key: float(values.mean()) for key, values in values_by_name.items()}
    for i, photo in enumerate(photos.names):
        mine = slice(i * protocol.crops, (i + 1) * protocol.crops)
        result.each[photo] = {key: float(values[mine].mean()) for key, values in figures["student"].items()}
    result.protocol = {
        **asdict(protocol),
        "photos": len(photos),
        "photo_crops": len(crops),
        "style_pictures": 0 if style is None else len(style),
        "style_crops": 0 if drawn is None else len(drawn),
        "extractor_weights_sha256": extractor.weights,
        "versions": versions(),
        "psnr": "mean of single crops' dB, RGB, peak 2 of [-1, 1]",
        "ssim": "Gaussian window 11 px where it fits, sigma 1.5, RGB, in [0, 1]",
        "high_frequency": "mean square of the three high bands of the first Haar level, pictures in [-1, 1]",
    }
    return result


def _translated(translate: Translate, crops: Tensor) -> Tensor:
    """As 8-bit pictures: what anybody will see."""
    return torch.cat([to_uint8(translate(to_float(part))) for part in torch.split(crops, BATCH)])


def _features(crops: Tensor, extractor: Extractor) -> Tensor:
    return torch.cat([extractor(part) for part in torch.split(crops, BATCH)])


def _picture_figures(made: dict[str, Tensor], protocol: TranslationProtocol) -> dict[str, dict[str, Tensor]]:
    """Of each crop: agreement with the teacher's picture, likeness to the photo, energy of the high band."""
    perceptual = build_perceptual(protocol.perceptual)
    figures: dict[str, dict[str, Tensor]] = {}
    for who, pictures in made.items():
        figures[who] = {"high_frequency": torch.cat([_energy(to_float(p)) for p in torch.split(pictures, BATCH)])}
        for target in ("teacher", "photos"):
            if target in made and who in ("student", "teacher", "photos") and who != target:
                suffix = target.removesuffix("s")
                pairs = [
                    (to_float(a), to_float(b))
                    for a, b in zip(torch.split(made[target], BATCH), torch.split(pictures, BATCH), strict=True)
                ]
                found = picture_agreement(pairs, perceptual)
                found["mse"] = torch.cat([(a - b).square().mean((1, 2, 3)) for a, b in pairs]).double()
                figures[who] |= {f"{key}_{suffix}": values for key, values in found.items()}
    return figures


def _energy(images: Tensor) -> Tensor:
    """Mean square of the high Haar bands, [N]."""
    even = images[:, :, : images.shape[2] // 2 * 2, : images.shape[3] // 2 * 2]
    return haar(even)[1].square().mean((1, 2, 3, 4)).double()
