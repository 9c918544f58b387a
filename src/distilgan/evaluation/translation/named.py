"""From names to figures: what measures a translator, of a run or any other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from distilgan.data.archives import builtin_path, data_sha256, same_set
from distilgan.errors import UserError
from distilgan.evaluation.cost import Costed, costs
from distilgan.evaluation.protocol import versions
from distilgan.evaluation.translation.measure import (
    TranslationProtocol,
    TranslationResult,
    evaluate_translation,
    open_crops,
)
from distilgan.evaluation.translation.solvers import EXACT, OWN, solver_sensitivity
from distilgan.evaluation.translation.translators import AnyTranslator, TorchTranslator, open_translator
from distilgan.networks.families import FAMILIES
from distilgan.networks.pretrained import read_config
from distilgan.networks.resnet_translator import ResnetTranslator
from distilgan.onnx_session import open_session
from distilgan.recipe import TranslationRecipe
from distilgan.runs import is_run, open_run
from distilgan.teachers.cut import is_checkpoint

_SENSITIVITY_CROPS = 16
MEANS = (5, 50)
"""Runs that the NijiGAN report's times are means of."""


def protocol_of(recipe: TranslationRecipe) -> TranslationProtocol:
    """How a recipe has its result measured."""
    d, e = recipe.data, recipe.evaluation
    return TranslationProtocol(
        data=e.data or d.path,
        style=e.style or d.style,
        resolution=d.resolution,
        load=d.load,
        zoom=d.zoom,
        crops=e.crops,
        held_out=e.data is not None and not same_set(e.data, d.path),
        style_held_out=e.style is not None and not same_set(e.style, d.style),
        limit=None if e.data else d.limit,
        extractor=e.extractor,
        perceptual=e.perceptual,
        latency_runs=e.latency_runs,
    )


def translates(name: str) -> bool:
    """Whether `name` is a translator: a run's, a folder, an exported file or a checkpoint of CUT's."""
    path = builtin_path(name)
    if path.suffix == ".onnx" and path.is_file():
        inputs = open_session(path).get_inputs()
        return len(inputs) == 1 and inputs[0].shape[1:2] == [3]
    if is_run(path):
        return isinstance(open_run(path).recipe, TranslationRecipe)
    if is_checkpoint(path):
        return True
    if not (path / "config.json").is_file():
        return False
    return issubclass(FAMILIES.get(str(read_config(path).get("family")), object), ResnetTranslator)


def evaluate_named(
    name: str, data: str | None, style: str | None, teacher: str | None, device: str = "cpu", **given: Any
) -> TranslationResult:
    """Measure what `name` makes of `data`; where something is not given (None), as the run's recipe says.

    Raises:
        UserError: no photos are named.
    """
    recipe = open_run(Path(name)).recipe if is_run(Path(name)) else None
    given = {key: value for key, value in given.items() if value is not None}
    if isinstance(recipe, TranslationRecipe):
        protocol, teacher = protocol_of(recipe), teacher or recipe.compared_with
        given |= {} if data is None else {"data": data, "held_out": None, "limit": None}
        given |= {} if style is None else {"style": style, "style_held_out": None}
    elif data is None:
        raise UserError(f"{name}: give --data with photos to translate")
    else:
        protocol = TranslationProtocol(data=data, style=style, resolution=open_translator(name).resolution)
    protocol = replace(protocol, device=device, **given)
    result = measure_translation(name, protocol, teacher)
    result.protocol |= translation_hashes(name, protocol, teacher)
    return result


def measure_translation(
    name: str, protocol: TranslationProtocol, teacher: str | None = None, extra_costs: dict[str, str] | None = None
) -> TranslationResult:
    """Measure `name` (run, folder, ONNX file or checkpoint) beside its teacher.

    Args:
        extra_costs: more things whose cost belongs in the table: label -> name.

    Raises:
        UserError: crops that a network cannot take.
    """
    student = open_translator(name, protocol.device)
    master = open_translator(teacher, protocol.device) if teacher else None
    for item in (student, master):
        check_size(item, protocol.resolution)
    result = evaluate_translation(name, student, protocol, master)
    if isinstance(student, TorchTranslator):
        crops = open_crops(protocol, protocol.data).crops(protocol.crops)
        chosen = torch.linspace(0, len(crops) - 1, min(len(crops), _SENSITIVITY_CROPS)).long()
        result.solvers = solver_sensitivity(student.network, crops[chosen])
        if result.solvers:
            result.metrics["evaluations"] = result.solvers[OWN]["evaluations"]
            result.metrics["psnr_exact_ode"] = result.solvers[EXACT]["psnr"]
    items: dict[str, AnyTranslator] = {"student": student, "teacher": master} if master else {"generator": student}
    items |= {label: open_translator(other) for label, other in (extra_costs or {}).items()}
    costed: dict[str, Costed] = {label: item.costed() for label, item in items.items()}
    result.cost = costs(costed, protocol.latency_runs, MEANS)
    return result


def check_size(item: AnyTranslator | None, resolution: int) -> None:
    """Raise UserError when a translator cannot take crops of this size."""
    if item is None:
        return
    if resolution % item.multiple or resolution < 4 * item.multiple:
        raise UserError(
            f"{item.name}: takes pictures whose sides are multiples of {item.multiple}, from {4 * item.multiple} on; crops of "
            f"{resolution} are not"
        )


def translation_hashes(name: str, protocol: TranslationProtocol, teacher: str | None) -> dict[str, Any]:
    """SHA-256 of everything that figures depend on."""
    return {
        "student_sha256": open_translator(name).sha256,
        "teacher_sha256": open_translator(teacher).sha256 if teacher else None,
        "data_sha256": data_sha256(protocol.data),
        "style_sha256": data_sha256(protocol.style) if protocol.style else None,
        "versions": versions(),
    }
