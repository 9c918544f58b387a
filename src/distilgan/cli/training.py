"""Verbs that make runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from distilgan.cli.options import (
    Device,
    DryRun,
    Fresh,
    Json,
    Out,
    Overrides,
    Precision,
    RecipeName,
    Seed,
    Smoke,
    check_device,
    print_json,
)
from distilgan.errors import UserError

if TYPE_CHECKING:
    from distilgan.recipe import AnyRecipe


def recipes(
    name: Annotated[str | None, typer.Argument(metavar="[RECIPE]", help="Show its keys.", show_default=False)] = None,
    json: Json = False,
) -> None:
    """List the packaged recipes, or the keys of one with values and meanings."""
    from json import dumps

    from distilgan.recipe import described, load_recipe, packaged

    if name is not None:
        keys = described(load_recipe(name))
        if json:
            return print_json({key: {"value": value, "meaning": text} for key, (value, text) in keys.items()})
        for key, (value, text) in keys.items():
            print(f"{key}={value if isinstance(value, str) else dumps(value)}".ljust(40), text)
        return None
    found = {name: load_recipe(name) for name in packaged()}
    if json:
        return print_json({name: {"method": r.method, "description": r.description} for name, r in found.items()})
    for each, recipe in found.items():
        print(f"{each:28} {recipe.verb:8} {recipe.description}")
    return None


def distill(
    recipe: RecipeName, overrides: Overrides = None, out: Out = None, seed: Seed = None, device: Device = "cpu",
    precision: Precision = None, fresh: Fresh = False, smoke: Smoke = False, dry_run: DryRun = False, json: Json = False,
) -> None:  # fmt: skip
    """Make a student from a teacher: train, export, measure, report."""
    _execute("distill", recipe, overrides, out, seed, device, precision, fresh, smoke, dry_run, json)


def train(
    recipe: RecipeName, overrides: Overrides = None, out: Out = None, seed: Seed = None, device: Device = "cpu",
    precision: Precision = None, fresh: Fresh = False, smoke: Smoke = False, dry_run: DryRun = False, json: Json = False,
) -> None:  # fmt: skip
    """Train a generator on images: a teacher."""
    _execute("train", recipe, overrides, out, seed, device, precision, fresh, smoke, dry_run, json)


def _execute(
    verb: str, name: str, overrides: list[str] | None, out: Path | None, seed: int | None, device: str,
    precision: str | None, fresh: bool, smoke: bool, dry_run: bool, json: bool,
) -> None:  # fmt: skip
    check_device(device)
    recipe = _recipe(verb, name, overrides, seed, precision, smoke)
    folder = out or Path("runs") / (f"{recipe.name}-smoke" if smoke else recipe.name)
    if dry_run:
        return _dry_run(recipe, folder, fresh, json)
    from distilgan.pipeline import execute, first_process

    run = execute(recipe, folder, device, fresh)
    if not first_process():
        return None
    if json:
        return print((run.path / "metrics.json").read_text(), end="")
    print(f"generator: {run.student}\nreport:    {run.path / 'report.html'}")


def _recipe(
    verb: str, name: str, overrides: list[str] | None, seed: int | None, precision: str | None, smoke: bool
) -> AnyRecipe:
    from distilgan.recipe import load_recipe

    extra = list(overrides or [])
    extra += [] if seed is None else [f"seed={seed}"]
    extra += [] if precision is None else [f"training.precision='{precision}'"]
    recipe = load_recipe(name, extra, smoke)
    if recipe.verb != verb:
        raise UserError(f"{name} is a recipe for `distilgan {recipe.verb}`")
    return recipe


def _dry_run(recipe: AnyRecipe, folder: Path, fresh: bool, json: bool) -> None:
    from distilgan.pipeline import plan
    from distilgan.recipe import dump_recipe

    facts = plan(recipe, folder, fresh)
    if json:
        return print_json({"recipe": recipe.model_dump(mode="json"), "plan": facts})
    print(dump_recipe(recipe))
    for key, value in facts.items():
        print(f"# {key}: {value:,}" if isinstance(value, int) else f"# {key}: {value}")
