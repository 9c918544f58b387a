"""Measuring a source of pictures: fidelity to data, agreement with the teacher, cost; each value with its protocol."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from distilgan import __version__
from distilgan.data.images import ImageSet
from distilgan.errors import UserError
from distilgan.evaluation.agreement import picture_agreement
from distilgan.evaluation.cost import count_macs, count_parameters, latency, peak_activation_bytes
from distilgan.evaluation.fidelity import frechet_distance, kernel_distance, precision_recall
from distilgan.evaluation.onnx_session import onnx_facts
from distilgan.evaluation.sources import Folder, Generator, OnnxFile, Source, latents, open_source
from distilgan.perception.features import Extractor, build_extractor
from distilgan.perception.perceptual import build_perceptual
from distilgan.recipe import BaseRecipe, StyleKDRecipe
from distilgan.runs import is_run, open_run

EVALUATION_SEED = 20_000
"""Latents of the evaluation: no training step draws from this seed's stream."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What a figure depends on besides the thing measured."""

    data: str | None = None
    held_out: bool | None = None
    samples: int = 1000
    reference: int | None = None
    extractor: str = "efficientnet-lite0"
    truncation: float = 1.0
    seed: int = EVALUATION_SEED
    latency_runs: int = 30
    device: str = "cpu"


@dataclass
class Result:
    """Figures by name and how they were made; `metrics.json` of a run."""

    source: str
    metrics: dict[str, float] = field(default_factory=dict)
    teacher: dict[str, float] = field(default_factory=dict)
    cost: dict[str, dict[str, Any]] = field(default_factory=dict)
    protocol: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"


def read_result(path: Path) -> Result | None:
    """What `Result.to_json` wrote into `path`; None where there is none, or a damaged one."""
    try:
        return TypeAdapter(Result).validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def evaluate(
    name: str, protocol: Protocol, teacher: str | None = None, extra_costs: dict[str, str] | None = None
) -> Result:
    """Measure the source `name` (run, folder, ONNX, images).

    Args:
        teacher: a generator to measure agreement with and to measure beside the student.
        extra_costs: more things whose cost belongs in the table: label -> source name.

    Raises:
        UserError: missing data, too few images, latents that do not fit the teacher's.
    """
    source = open_source(name, device=protocol.device, truncation=protocol.truncation)
    result = Result(source=name)
    extractor = build_extractor(protocol.extractor, protocol.device)
    if protocol.data is None and not source.generated:
        raise UserError(f"{name}: images are measured against other images; give --data")
    # At the size of what is measured: a picture of half the size is blurred to any extractor.
    reference = open_reference(protocol, source.resolution)
    fake = _features(source, extractor, protocol.samples, protocol.seed)
    count = len(fake)  # a folder may hold fewer
    suffix = f"{thousands(count)}_{extractor.name}"
    master = open_source(teacher, device=protocol.device, truncation=protocol.truncation) if teacher else None
    # Latents of its own: KID is unbiased and FID comparable between independent sets only, and pictures that follow the
    # teacher's one by one are not independent of them.
    taught = _features(master, extractor, count, protocol.seed + 1) if master else None
    if reference is not None:
        real = _features(Folder(reference, str(reference.path)), extractor, len(reference), protocol.seed)
        result.metrics |= _fidelity(real, fake, suffix)
        if taught is not None:
            result.teacher |= _fidelity(real, taught, suffix)
        result.protocol |= {"reference_images": len(real), "reference_data": str(protocol.data)}
        result.protocol["reference_resolution"] = reference.resolution
        result.protocol["precision_recall_samples"] = min(len(real), count)  # of each, the first ones
    if master is not None and taught is not None:
        result.metrics[f"kid{suffix}_teacher"] = kernel_distance(taught, fake)
        result.metrics[f"fid{suffix}_teacher"] = frechet_distance(taught, fake)
        if isinstance(source, Generator | OnnxFile) and isinstance(master, Generator | OnnxFile):
            result.metrics |= {f"{k}_teacher": v for k, v in _agreement(master, source, protocol).items()}
    costs = {"student": source, "teacher": master} if master else {"generator": source}
    costs |= {label: open_source(other) for label, other in (extra_costs or {}).items()}
    for label, item in costs.items():
        if isinstance(item, Generator | OnnxFile):
            result.cost[label] = measure_cost(item, protocol.latency_runs)
    image_sets = [s for s in (reference, source.images if isinstance(source, Folder) else None) if s is not None]
    result.protocol |= {
        **asdict(protocol),
        "samples": count,
        "skipped": {str(s.path): len(s.skipped) for s in image_sets if s.skipped},
        "noise": "stored fields",
        "extractor_weights_sha256": extractor.weights,
        "resize": f"{extractor.resize_name} to {extractor.resolution} px",
        "threads": torch.get_num_threads(),
        "versions": versions(),
    }
    return result


def versions() -> dict[str, str]:
    """Versions of everything that a figure passes through."""
    return {"distilgan": __version__, **{p: version(p) for p in ("torch", "torchmetrics", "numpy")}}


def protocol_of(recipe: BaseRecipe) -> Protocol:
    """How a recipe has its result measured."""
    e = recipe.evaluation
    limits = [n for n in (e.reference, None if e.data else recipe.data.limit) if n is not None]
    return Protocol(
        data=e.data or recipe.data.path,
        held_out=e.data is not None,
        samples=e.samples,
        reference=min(limits, default=None),
        extractor=e.extractor,
        truncation=e.truncation,
        latency_runs=e.latency_runs,
    )


def teacher_of(recipe: BaseRecipe) -> str | None:
    """The generator that the student is compared with: its teacher, or the one it has its sizes from."""
    return (recipe.teacher or recipe.like) if isinstance(recipe, StyleKDRecipe) else None


def protocol_for(name: str, **given: Any) -> tuple[Protocol, str | None]:
    """How to measure `name`, and its teacher: what was given (not None), else what a run's recipe says."""
    recipe = open_run(Path(name)).recipe if is_run(Path(name)) else None
    protocol = protocol_of(recipe) if recipe else Protocol()
    given = {key: value for key, value in given.items() if value is not None}
    if "data" in given:
        given |= {"held_out": None, "reference": given.get("reference")}
    return replace(protocol, **given), teacher_of(recipe) if recipe else None


def measure_cost(source: Generator | OnnxFile, runs: int = 30) -> dict[str, Any]:
    """Parameters, MACs, peak activation memory and latency of one picture (batch 1)."""
    z = next(latents(source.z_dim, 1, EVALUATION_SEED))
    timed = latency(lambda: source.images(z), runs)
    facts: dict[str, Any] = {
        "latency_ms_p50": timed["p50"],
        "latency_ms_p90": timed["p90"],
        "threads": torch.get_num_threads(),
    }
    if isinstance(source, Generator):
        network, z = source.network, z.to(source.device)
        facts |= {
            "parameters": count_parameters(network),
            "parameters_mapping": count_parameters(network.mapping),
            "macs": count_macs(network, z=z),
            "peak_activation_bytes": peak_activation_bytes(network, z=z),
        }
    else:
        facts |= onnx_facts(source.path)
    return facts


def open_reference(protocol: Protocol, resolution: int) -> ImageSet | None:
    """The images to measure against, if there are any.

    Raises:
        UserError: no such set, or too few images in it.
    """
    if protocol.data is None:
        return None
    reference = ImageSet(protocol.data, resolution, limit=protocol.reference)
    if len(reference) < 8:
        raise UserError(f"{protocol.data}: {len(reference)} images are too few to measure against; give at least 8")
    return reference


@torch.no_grad()
def _features(source: Source, extractor: Extractor, count: int, seed: int) -> Tensor:
    features = torch.cat([extractor(batch) for batch in source.pixels(count, seed)])
    if len(features) < 8:
        raise UserError(f"{source.name}: {len(features)} pictures are too few to measure; give at least 8")
    return features


def _fidelity(real: Tensor, fake: Tensor, suffix: str) -> dict[str, float]:
    n = min(len(real), len(fake))
    values = {f"fid{suffix}": frechet_distance(real, fake), f"kid{suffix}": kernel_distance(real, fake)}
    return values | {f"{k}{suffix}": v for k, v in precision_recall(real[:n], fake[:n]).items()}


def _agreement(teacher: Generator | OnnxFile, student: Generator | OnnxFile, protocol: Protocol) -> dict[str, float]:
    if teacher.z_dim != student.z_dim:
        raise UserError(f"latents differ: {teacher.name} takes {teacher.z_dim} numbers, {student.name} {student.z_dim}")
    if teacher.resolution != student.resolution:
        raise UserError(
            f"{teacher.name} makes pictures of {teacher.resolution} px, {student.name} of {student.resolution}"
        )
    zs = latents(student.z_dim, protocol.samples, protocol.seed)
    perceptual = build_perceptual("efficientnet-lite0")
    return picture_agreement(((teacher.images(z), student.images(z)) for z in zs), perceptual)


def thousands(n: int) -> str:
    """5000 as 5k: how metric names give sample counts."""
    return f"{n // 1000}k" if n >= 1000 and n % 1000 == 0 else str(n)
