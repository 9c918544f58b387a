"""How figures are made, and the figures: what metrics.json holds."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from distilgan import __version__
from distilgan.data.archives import builtin_path, data_sha256, same_set
from distilgan.errors import UserError
from distilgan.evaluation.per_class import PerClass
from distilgan.networks.pretrained import read_config
from distilgan.recipe import BaseRecipe, BigGANRecipe, LatentRecipe, TinyGANRecipe
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
    teacher_truncation: float | None = None  # None: as the student's
    classifier_data: str | None = None  # labelled images that the classifier learns from; None: no classifier
    classifier_images: int = 2000
    seed: int = EVALUATION_SEED
    latency_runs: int = 30
    device: str = "cpu"


@dataclass
class Result:
    """Figures by name and how they were made; `metrics.json` of a run.

    `classes` and `teacher_classes` have the figures of each class, by name and class number.
    """

    source: str
    metrics: dict[str, float] = field(default_factory=dict)
    teacher: dict[str, float] = field(default_factory=dict)
    cost: dict[str, dict[str, Any]] = field(default_factory=dict)
    protocol: dict[str, Any] = field(default_factory=dict)
    classes: dict[str, PerClass] = field(default_factory=dict)
    teacher_classes: dict[str, PerClass] = field(default_factory=dict)
    class_names: list[str] = field(default_factory=list)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"


def read_result(path: Path) -> Result | None:
    """What `Result.to_json` wrote into `path`; None where there is none, or a damaged one."""
    try:
        return TypeAdapter(Result).validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def versions() -> dict[str, str]:
    """Versions of everything that a figure passes through."""
    return {"distilgan": __version__, **{p: version(p) for p in ("torch", "torchmetrics", "numpy")}}


def data_hashes(protocol: Protocol) -> dict[str, str]:
    """SHA-256 of the sets that figures depend on, by the keys that have them in metrics.json."""
    sets = {"data_sha256": protocol.data, "classifier_data_sha256": protocol.classifier_data}
    return {key: data_sha256(name) for key, name in sets.items() if name is not None}


def protocol_of(recipe: LatentRecipe) -> Protocol:
    """How a recipe has its result measured."""
    e = recipe.evaluation
    by_class = isinstance(recipe, TinyGANRecipe | BigGANRecipe)
    limits = [n for n in (e.reference, None if e.data else recipe.data.limit) if n is not None]
    return Protocol(
        data=e.data or recipe.data.path,
        held_out=e.data is not None and not same_set(e.data, recipe.data.path),
        samples=e.samples,
        reference=min(limits, default=None),
        extractor=e.extractor,
        truncation=e.truncation,
        teacher_truncation=recipe.pairs.truncation * e.truncation if isinstance(recipe, TinyGANRecipe) else None,
        classifier_data=recipe.data.path if by_class and e.classifier_images else None,
        classifier_images=e.classifier_images,
        latency_runs=e.latency_runs,
    )


def _drawn_at(name: str, recipe: BaseRecipe | None) -> float | None:
    """The truncation of the pictures that a student learnt from, which its own 1 stands for; None: that of any generator."""
    if recipe is not None:
        return recipe.pairs.truncation if isinstance(recipe, TinyGANRecipe) else None
    path = builtin_path(name)
    found = read_config(path).get("pairs_truncation") if (path / "config.json").is_file() else None
    return float(found) if isinstance(found, int | float) else None


def protocol_for(name: str, **given: Any) -> tuple[Protocol, str | None]:
    """How to measure `name`, and its teacher: what was given (not None), else what a run's recipe or a folder says."""
    recipe = open_run(Path(name)).recipe if is_run(Path(name)) else None
    if recipe is not None and not isinstance(recipe, LatentRecipe):
        raise UserError(f"{name}: a run of the method {recipe.method} is measured as it ends; see its metrics.json")
    protocol = protocol_of(recipe) if recipe else Protocol()
    given = {key: value for key, value in given.items() if value is not None}
    if "data" in given:
        learnt = recipe is not None and same_set(given["data"], recipe.data.path)
        given |= {"held_out": False if learnt else None, "reference": given.get("reference")}
    base = _drawn_at(name, recipe)
    if base is not None and "teacher_truncation" not in given:
        given["teacher_truncation"] = base * given.get("truncation", protocol.truncation)
    return replace(protocol, **given), recipe.compared_with if recipe else None


def thousands(n: int) -> str:
    """5000 as 5k: how metric names give sample counts."""
    return f"{n // 1000}k" if n >= 1000 and n % 1000 == 0 else str(n)
