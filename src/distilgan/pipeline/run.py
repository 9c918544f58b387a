"""A run of any kind: check, train, finish."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from distilgan.errors import UserError
from distilgan.files import locked, new_folder
from distilgan.methods.base import Method
from distilgan.methods.draws import initialisation_seed
from distilgan.networks.pretrained import Pretrained, read_config
from distilgan.pipeline.kind import Kind
from distilgan.pipeline.steps import first_process, say
from distilgan.recipe import AnyRecipe, CUTRecipe, IdentityRecipe, MetaKDRecipe, NijiGANRecipe, TPGANRecipe
from distilgan.runs import Run, check_run, load_model, start_run
from distilgan.training.checkpoint import CHECKPOINTS, latest_checkpoint
from distilgan.training.hardware import Hardware, start_hardware
from distilgan.training.loop import fit, micro_batches


def kind_of(recipe: AnyRecipe) -> Kind[Any, Any]:
    """How runs of this recipe are made."""
    if isinstance(recipe, TPGANRecipe | MetaKDRecipe):
        from distilgan.pipeline.frontal import FrontalKind

        return FrontalKind(recipe)
    if isinstance(recipe, IdentityRecipe):
        from distilgan.pipeline.identity import IdentityKind

        return IdentityKind(recipe)
    if isinstance(recipe, CUTRecipe | NijiGANRecipe):
        from distilgan.pipeline.translation import TranslationKind

        return TranslationKind(recipe)
    from distilgan.pipeline.latent import LatentKind

    return LatentKind(recipe)


def build_method(recipe: AnyRecipe, data: Any, device: str | torch.device = "cpu") -> Method[Any, Any]:
    """The method of a recipe, its networks initialised from the recipe's seed; `device` scores channels.

    Raises:
        UserError: a teacher, store or data that do not fit the recipe.
    """
    return _build(kind_of(recipe), data, device, weights_follow=False)


def _build(kind: Kind[Any, Any], data: Any, device: str | torch.device, *, weights_follow: bool) -> Method[Any, Any]:
    torch.manual_seed(initialisation_seed(kind.recipe.seed))
    return kind.build(data, device, weights_follow=weights_follow)


def execute(recipe: AnyRecipe, out: Path, device: str = "cpu", fresh: bool = False) -> Run:
    """Train, export, evaluate and report; the same call again goes on where it stopped.

    Raises:
        UserError: something the user can mend; nothing in `out` was changed.
        RunFailed: a diverged training or a full disk; what was saved is whole.
    """
    check_run(out, recipe, fresh)
    kind = kind_of(recipe)
    data = kind.open_data()
    hardware = start_hardware(device, recipe.training.precision)
    run = Run(out, recipe)
    resumed = not fresh and latest_checkpoint(out / CHECKPOINTS) is not None  # which has the weights
    method = None
    if fresh or not _trained(run, kind):
        method = _build(kind, data, hardware.fabric.device, weights_follow=resumed)
        micro_batches(method, recipe.training, hardware.fabric.world_size)
        kind.check_ends(run, method, data)
    with locked(out) if first_process() else nullcontext():
        if first_process():
            start_run(out, recipe, fresh)
        hardware.fabric.barrier()
        count, first = kind.skipped(data)
        if count:
            say(f"{count} files in {recipe.data.path} are skipped, the first is {first}")
        if method is not None:
            _train(run, kind, method, data, hardware)
        if first_process():
            kind.finish(run, data, device)
    return run


def _trained(run: Run, kind: Kind[Any, Any]) -> bool:
    """Whether student/ is whole and the result of this recipe's whole length.

    Raises:
        UserError: its teacher is another one now, or its lessons are.
    """
    try:
        config = read_config(run.student)
        load_model(run.student, Pretrained)
    except UserError:  # not there yet, or damaged: the last checkpoint makes it again
        return False
    now = kind.facts()
    for key, change in kind.changes.items():
        if key in now and config.get(key) != now[key]:
            raise UserError(f"{run.path}: {change} than when it was made; start over with --fresh")
    return bool(config.get("images") == run.recipe.training.images)


def _train(run: Run, kind: Kind[Any, Any], method: Method[Any, Any], data: Any, hardware: Hardware) -> None:
    r = run.recipe
    origin = (
        {**kind.facts(), **kind.learnt(data)} if first_process() else {}
    )  # now: a store may be gone when the training ends
    average = fit(method, r, run.path, r.seed, hardware)
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


def plan(recipe: AnyRecipe, out: Path, fresh: bool = False) -> dict[str, Any]:
    """What a run would do, without doing it: sizes of the networks and the data. Builds the networks, writes nothing.

    Raises:
        UserError: what `execute` would raise.
    """
    check_run(out, recipe, fresh)
    kind = kind_of(recipe)
    data = kind.open_data()
    method = _build(kind, data, "cpu", weights_follow=True)
    micro_batches(method, recipe.training, 1)
    kind.check_ends(Run(out, recipe), method, data)
    return kind.plan(method, data)
