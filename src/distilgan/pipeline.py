"""What the verbs do, from recipe to report; a step whose result is there already is not done again."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from distilgan.data.images import ImageSet, builtin_path
from distilgan.evaluation.cost import count_macs, count_parameters
from distilgan.evaluation.evaluate import Protocol, Result, evaluate
from distilgan.evaluation.sources import load_stylegan2
from distilgan.files import new_folder, write_atomic
from distilgan.methods.adversarial import AdversarialMethod
from distilgan.networks.stylegan2 import StyleGAN2
from distilgan.recipe import GANRecipe, StyleKDRecipe
from distilgan.runs import Run, start_run
from distilgan.training.loop import Hardware, fit

AnyRecipe = GANRecipe | StyleKDRecipe


def build_method(recipe: AnyRecipe) -> AdversarialMethod:
    """The method of a recipe, its networks initialised from the recipe's seed."""
    torch.manual_seed(recipe.seed)
    if isinstance(recipe, GANRecipe):
        from distilgan.methods.gan import GAN

        return GAN(recipe)
    from distilgan.methods.stylekd import StyleKD

    return StyleKD(recipe)


def execute(recipe: AnyRecipe, out: Path, device: str = "cpu", fresh: bool = False) -> Run:
    """Train, export, evaluate and report; the same call again goes on where it stopped."""
    images = ImageSet(recipe.data.path, recipe.data.resolution, strict=recipe.data.strict, limit=recipe.data.limit)
    run = start_run(out, recipe, fresh)
    if images.skipped:
        first = images.skipped[0]
        say(f"{len(images.skipped)} files in {images.path} are skipped, the first is {first.name}: {first.reason}")
    if not _trained(run):
        _train(run, images, device)
    if not first_process():
        return run
    export(run)
    report(run, images, measure(run, device))
    return run


def _trained(run: Run) -> bool:
    """Whether student/ is the result of this recipe's whole length."""
    config = run.student / "config.json"
    return run.finished and json.loads(config.read_text()).get("images") == run.recipe.training.images


def _train(run: Run, images: ImageSet, device: str) -> None:
    method = build_method(run.recipe)
    generator = fit(
        method, run.recipe, images, run.path, run.recipe.seed, Hardware(device, run.recipe.training.precision)
    )
    assert isinstance(generator, StyleGAN2)
    if not first_process():
        return
    with new_folder(run.student, "the checkpoints are whole") as folder:
        r = run.recipe
        generator.save_pretrained(folder, licence=r.licence, recipe=r.name, seed=r.seed, images=r.training.images)
        method.discriminator.save_pretrained(folder)


def export(run: Run) -> None:
    """Write `export/` of a finished run, unless it is there for these weights."""
    from distilgan.export.onnx import export_onnx, weights_hash

    student, facts = load_stylegan2(run.path), run.path / "export" / "export.json"
    if facts.exists() and json.loads(facts.read_text()).get("student_sha256") == weights_hash(student):
        return
    say("exporting to ONNX")
    export_onnx(student, facts.parent)


def measure(run: Run, device: str = "cpu") -> Result:
    """Evaluate a finished run by its recipe's protocol, unless that was done, and write `metrics.json` and the model card."""
    from distilgan.evaluation.card import model_card
    from distilgan.export.onnx import weights_hash

    e, path = run.recipe.evaluation, run.path / "metrics.json"
    protocol = Protocol(
        data=e.data or run.recipe.data.path,
        held_out=e.data is not None,
        samples=e.samples,
        reference=e.reference,
        extractor=e.extractor,
        truncation=e.truncation,
        latency_runs=e.latency_runs,
        device=device,
    )
    key = {**asdict(protocol), "student_sha256": weights_hash(load_stylegan2(run.path))}
    if path.exists() and key.items() <= json.loads(path.read_text())["protocol"].items():
        return Result(**json.loads(path.read_text()))
    say("measuring")
    onnx = run.path / "export" / "model.onnx"
    result = evaluate(str(run.path), protocol, teacher_of(run), {"ONNX": str(onnx)} if onnx.exists() else None)
    result.protocol |= key
    write_atomic(path, result.to_json())
    write_atomic(run.student / "README.md", model_card(run.recipe, result))
    return result


def teacher_of(run: Run) -> str | None:
    """The generator that the run's student is compared with: its teacher, or the one it has its sizes from."""
    return (run.recipe.teacher or run.recipe.like) if isinstance(run.recipe, StyleKDRecipe) else None


def report(run: Run, images: ImageSet, result: Result) -> Path:
    """Write `report.html`."""
    from distilgan.evaluation.report import write_report

    name = teacher_of(run)
    teacher = load_stylegan2(builtin_path(name)) if name else None
    path = run.path / "report.html"
    write_report(path, run.recipe, result, load_stylegan2(run.path), teacher, images, run.path / "log.jsonl")
    return path


def plan(recipe: AnyRecipe) -> dict[str, Any]:
    """What a run would do, without doing it: sizes of the networks and the data. Builds the networks, writes nothing."""
    images = ImageSet(recipe.data.path, recipe.data.resolution, strict=recipe.data.strict, limit=recipe.data.limit)
    if isinstance(recipe, StyleKDRecipe):
        recipe = recipe.model_copy(update={"student": recipe.student.model_copy(update={"score": "random"})})
    method = build_method(recipe)
    z = torch.zeros(1, method.generator.config.z_dim)
    facts: dict[str, Any] = {
        "images": len(images),
        "skipped": len(images.skipped),
        "generator_parameters": count_parameters(method.generator),
        "generator_macs": count_macs(method.generator, z=z),
        "generator_channels": method.generator.config.channels,
        "discriminator_parameters": count_parameters(method.discriminator),
    }
    name = (recipe.teacher or recipe.like) if isinstance(recipe, StyleKDRecipe) else None
    if name:
        teacher = load_stylegan2(builtin_path(name))
        facts |= {"teacher_parameters": count_parameters(teacher), "teacher_macs": count_macs(teacher, z=z)}
    return facts


def first_process() -> bool:
    """Whether this is the process that writes, of those that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
