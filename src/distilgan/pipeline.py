"""What the verbs do, from recipe to report; a step whose result is there already is not done again."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from distilgan.data.feed import Feed
from distilgan.data.images import ImageSet
from distilgan.data.pairs import read_manifest
from distilgan.errors import UserError
from distilgan.evaluation.card import model_card
from distilgan.evaluation.cost import count_macs, count_parameters
from distilgan.evaluation.evaluate import evaluate
from distilgan.evaluation.protocol import Protocol, Result, data_hashes, protocol_of, read_result, versions
from distilgan.evaluation.reference import check_same_classes, open_lesson, open_reference
from distilgan.files import locked, new_folder, write_atomic
from distilgan.methods.base import Method
from distilgan.methods.draws import initialisation_seed
from distilgan.networks.pretrained import network_sha256, read_config, write_config
from distilgan.perception.features import build_extractor
from distilgan.recipe import AnyRecipe, BigGANRecipe, DistillRecipe, GANRecipe, StyleKDRecipe, TinyGANRecipe
from distilgan.runs import Run, check_run, generator_folder, load_model, start_run
from distilgan.training.checkpoint import CHECKPOINTS, latest_checkpoint
from distilgan.training.hardware import Hardware, start_hardware
from distilgan.training.loop import fit, micro_batches


def build_method(recipe: AnyRecipe, images: ImageSet, device: str | torch.device = "cpu") -> Method:
    """The method of a recipe, its networks initialised from the recipe's seed; `device` scores channels.

    Raises:
        UserError: a teacher, store or images that do not fit the recipe.
    """
    torch.manual_seed(initialisation_seed(recipe.seed))
    if isinstance(recipe, GANRecipe):
        from distilgan.methods.gan import GAN

        return GAN(recipe)
    if isinstance(recipe, StyleKDRecipe):
        from distilgan.methods.stylekd import StyleKD

        return StyleKD(recipe, device)
    if isinstance(recipe, BigGANRecipe):
        from distilgan.methods.biggan import BigGANTraining

        return BigGANTraining(recipe, images.num_classes)
    from distilgan.methods.teaching import Teaching
    from distilgan.methods.tinygan import TinyGANDistillation

    teaching = Teaching(recipe)
    images.check_classes(teaching.num_classes, "the teacher", every=True)
    return TinyGANDistillation(recipe, teaching)


def feed_of(method: Method, images: ImageSet) -> Feed:
    """What the method's steps see."""
    return Feed(images, labelled=method.labelled, pairs=method.store)


def _without_scores(recipe: AnyRecipe) -> AnyRecipe:
    """The same networks, but channels chosen blindly: for weights that nobody will use, as scoring takes minutes."""
    if isinstance(recipe, StyleKDRecipe):
        return recipe.model_copy(update={"student": recipe.student.model_copy(update={"score": "random"})})
    return recipe


def execute(recipe: AnyRecipe, out: Path, device: str = "cpu", fresh: bool = False) -> Run:
    """Train, export, evaluate and report; the same call again goes on where it stopped.

    Raises:
        UserError: something the user can mend; nothing in `out` was changed.
        RunFailed: a diverged training or a full disk; what was saved is whole.
    """
    check_run(out, recipe, fresh)
    images = ImageSet(recipe.data.path, recipe.data.resolution, strict=recipe.data.strict, limit=recipe.data.limit)
    hardware = start_hardware(device, recipe.training.precision)
    run = Run(out, recipe)
    resumed = not fresh and latest_checkpoint(out / CHECKPOINTS) is not None  # which has the weights
    trained = not fresh and _trained(run)
    method = (
        None
        if trained
        else build_method(_without_scores(recipe) if resumed else recipe, images, hardware.fabric.device)
    )
    if method is not None:
        _check_ends(run, method, images, hardware.fabric.world_size)
    with locked(out) if first_process() else nullcontext():
        if first_process():
            start_run(out, recipe, fresh)
        hardware.fabric.barrier()
        if images.skipped:
            first = images.skipped[0]
            say(f"{len(images.skipped)} files in {images.path} are skipped, the first is {first.name}: {first.reason}")
        if method is not None:
            _train(run, method, images, hardware)
        if first_process():
            export(run)
            result = measure(run, device)
            report(run, images, result, describe(run, result))
    return run


def _check_ends(run: Run, method: Method, images: ImageSet, processes: int) -> None:
    """Find now what would be found after the training: UserError."""
    from distilgan.export.onnx import check_folder, check_packages

    micro_batches(method, run.recipe.training, processes)
    protocol = protocol_of(run.recipe)
    reference = open_reference(protocol, run.recipe.data.resolution)
    if reference is not None and method.generator.num_classes:
        check_same_classes(images, reference)
        if reference.labelled:
            reference.check_classes(method.generator.num_classes, "the generator")
        open_lesson(protocol, reference)
    _check_truncations(protocol, method, run.recipe.compared_with)
    build_extractor(protocol.extractor)
    check_packages()
    check_folder(run.path / "export")


def _check_truncations(protocol: Protocol, method: Method, teacher: str | None) -> None:
    try:
        method.generator.check_truncation(protocol.truncation)
        if teacher:
            load_model(teacher).check_truncation(protocol.teacher_truncation or protocol.truncation)
    except ValueError as error:
        raise UserError(f"evaluation.truncation={protocol.truncation:g}: {error}") from error


def _trained(run: Run) -> bool:
    """Whether student/ is whole and the result of this recipe's whole length.

    Raises:
        UserError: its teacher is another one now, or its pairs are.
    """
    try:
        config = read_config(run.student)
        load_model(run.student)
    except UserError:  # not there yet, or damaged: the last checkpoint makes it again
        return False
    now = _teacher_facts(run.recipe)
    changes = {
        "teacher_sha256": "its teacher has other weights or another config",
        "pairs": "the store has other pairs",
    }
    for key, change in changes.items():
        if key in now and config.get(key) != now[key]:
            raise UserError(f"{run.path}: {change} than when it was made; start over with --fresh")
    return bool(config.get("images") == run.recipe.training.images)


def _teacher_facts(recipe: AnyRecipe) -> dict[str, Any]:
    """What a student's config.json says of its teacher, and of the pairs of one on disk."""
    facts: dict[str, Any] = {}
    if isinstance(recipe, TinyGANRecipe) and recipe.uses_pairs:
        facts["pairs_truncation"] = recipe.pairs.truncation
        if recipe.pairs.store and (Path(recipe.pairs.store) / "manifest.json").is_file():  # a finished run needs none
            made = read_manifest(Path(recipe.pairs.store))
            facts |= {"teacher": made.teacher, "teacher_licence": made.licence, "teacher_sha256": made.teacher_sha256}
            facts["pairs"] = made.identity
    if isinstance(recipe, DistillRecipe) and recipe.teacher is not None:
        facts["teacher"] = recipe.teacher
        facts["teacher_licence"] = read_config(generator_folder(recipe.teacher)).get("licence", "")
        facts["teacher_sha256"] = network_sha256(load_model(recipe.teacher))
    return facts


def _train(run: Run, method: Method, images: ImageSet, hardware: Hardware) -> None:
    r = run.recipe
    origin = _teacher_facts(r) if first_process() else {}  # now: a store may be gone when the training ends
    average = fit(method, r, feed_of(method, images), run.path, r.seed, hardware)
    if not first_process():
        return
    generator, discriminator = method.finished(average)
    facts = {"licence": r.licence, "recipe": r.name, "seed": r.seed, "images": r.training.images, **origin}
    facts["trained"] = {
        "precision": "bf16" if hardware.bf16 else "32",
        "device": str(hardware.fabric.device),
        "threads": torch.get_num_threads(),
    }
    with new_folder(run.student, "the checkpoints are whole") as folder:
        generator.save_pretrained(folder, **facts)
        if discriminator is not None:
            discriminator.save_pretrained(folder)


def export(run: Run) -> None:
    """Write `export/` of a finished run, unless it is there for these weights."""
    from distilgan.export.onnx import export_onnx, is_export_of

    student, folder = load_model(run.path), run.path / "export"
    if not is_export_of(folder, network_sha256(student)):
        say("exporting to ONNX")
        export_onnx(student, folder)


def measure(run: Run, device: str = "cpu") -> Result:
    """Evaluate a finished run by its recipe's protocol, unless that was done, and write `metrics.json`."""
    path, teacher = run.path / "metrics.json", run.recipe.compared_with
    protocol = replace(protocol_of(run.recipe), device=device)
    onnx = run.path / "export" / "model.onnx"
    key = {
        **asdict(protocol),
        "student_sha256": network_sha256(load_model(run.path)),
        "teacher_sha256": network_sha256(load_model(teacher)) if teacher else None,
        **data_hashes(protocol),
        "versions": versions(),
    }
    known = read_result(path)
    if known is not None and key.items() <= known.protocol.items():
        return known
    say("measuring")
    result = evaluate(str(run.path), protocol, teacher, {"ONNX": str(onnx)} if onnx.exists() else None)
    result.protocol |= {**key, "trained": read_config(run.student).get("trained")}
    write_atomic(path, result.to_json())
    return result


def describe(run: Run, result: Result) -> str:
    """Write the model card and the licence into `student/`; returns the card."""
    facts = read_config(run.student)
    if facts.get("licence") != run.recipe.licence:  # it may be set after the training
        facts["licence"] = run.recipe.licence
        write_config(run.student, facts)
    card = model_card(run.recipe, result, facts, load_model(run.path))
    write_atomic(run.student / "README.md", card)
    return card


def report(run: Run, images: ImageSet, result: Result, card: str) -> None:
    """Write `report.html`."""
    from distilgan.evaluation.report import write_report

    name = run.recipe.compared_with
    teacher = load_model(name) if name else None
    path, student = run.path / "report.html", load_model(run.path)
    write_report(path, run.recipe, result, student, teacher, images, run.path / "log.jsonl", card)


def plan(recipe: AnyRecipe, out: Path, fresh: bool = False) -> dict[str, Any]:
    """What a run would do, without doing it: sizes of the networks and the data. Builds the networks, writes nothing.

    Raises:
        UserError: what `execute` would raise.
    """
    check_run(out, recipe, fresh)
    images = ImageSet(recipe.data.path, recipe.data.resolution, strict=recipe.data.strict, limit=recipe.data.limit)
    method = build_method(_without_scores(recipe), images)
    _check_ends(Run(out, recipe), method, images, processes=1)
    generator, discriminator = method.finished(method.generator)
    example = generator.sample_inputs(1)
    facts: dict[str, Any] = {
        "images": len(images),
        "skipped": len(images.skipped),
        "generator_parameters": count_parameters(generator),
        "generator_macs": count_macs(generator.eval(), **example),
        "generator_channels": generator.config.channels,
    }
    if discriminator is not None:
        facts["discriminator_parameters"] = count_parameters(discriminator)
    if name := recipe.compared_with:
        teacher = load_model(name)
        facts |= {"teacher_parameters": count_parameters(teacher), "teacher_macs": count_macs(teacher, **example)}
    return facts


def first_process() -> bool:
    """Whether this is the process that writes, of those that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
