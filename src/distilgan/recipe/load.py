"""Reading, checking, showing and comparing recipes.

A recipe is read, overridden by `key=value` pairs, validated, and written out whole into the run folder. Nothing in this
room imports torch, so that a wrong key is refused before anything heavy is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from distilgan.errors import UserError, near_names
from distilgan.recipe.balancer import SMOKE_BALANCER
from distilgan.recipe.base import BaseRecipe
from distilgan.recipe.conditional import BigGANRecipe, TinyGANRecipe
from distilgan.recipe.frontal import IdentityRecipe, MetaKDRecipe, TPGANRecipe
from distilgan.recipe.overrides import SMOKE, apply_override, merge, read_yaml
from distilgan.recipe.stylegan import GANRecipe, StyleKDRecipe
from distilgan.recipe.translation import CUTRecipe, NijiGANRecipe

RECIPES = Path(__file__).parents[1] / "recipes"
LatentRecipe = GANRecipe | StyleKDRecipe | BigGANRecipe | TinyGANRecipe
FrontalRecipe = TPGANRecipe | MetaKDRecipe
TranslationRecipe = CUTRecipe | NijiGANRecipe
AnyRecipe = LatentRecipe | FrontalRecipe | IdentityRecipe | TranslationRecipe
METHODS: dict[str, type[BaseRecipe]] = {
    "gan": GANRecipe,
    "stylekd": StyleKDRecipe,
    "biggan": BigGANRecipe,
    "tinygan": TinyGANRecipe,
    "identity": IdentityRecipe,
    "tpgan": TPGANRecipe,
    "metakd": MetaKDRecipe,
    "cut": CUTRecipe,
    "nijigan": NijiGANRecipe,
}
_adapter: TypeAdapter[AnyRecipe] = TypeAdapter(Annotated[AnyRecipe, Field(discriminator="method")])


def packaged() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(p.stem for p in RECIPES.glob("*.yaml"))


def load_recipe(name: str, overrides: list[str] | None = None, smoke: bool = False) -> AnyRecipe:
    """A packaged recipe by name, or a YAML file by path, with `key=value` overrides applied.

    Raises:
        UserError: unknown recipe, key or value type; the message names it and its near names.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise UserError(f"recipe {name}: no such file")
    else:
        path = RECIPES / f"{name}.yaml"
        if name not in packaged():
            raise UserError(f"unknown recipe {name!r}{near_names(name, packaged())}")
    try:
        tree = read_yaml(path.read_bytes())
    except ValueError as error:
        raise UserError(f"recipe {path}: {error}") from error
    if smoke:
        merge(tree, SMOKE)
        method = METHODS.get(str(tree.get("method")))
        merge(tree, method.smoke if method else {})
    packaged_origin, given = _origin(tree), [o.partition("=")[0] for o in overrides or []]
    for override in overrides or []:
        apply_override(tree, override)
    if smoke:
        _smoke_balancer(tree, given)
    _forget_origin(tree, packaged_origin, given)
    return parse_recipe(tree, str(path), given)


def _smoke_balancer(tree: dict[str, Any], given: list[str]) -> None:
    """A balancer that is seen to move in a run this short, but for what was given."""
    method = METHODS.get(str(tree.get("method")))
    section = tree.get("balancer", {})
    if method is None or "balancer" not in method.model_fields or not isinstance(section, dict):
        return
    kind = section.get("kind", method.model_fields["balancer"].default.kind)
    changes = {k: v for k, v in SMOKE_BALANCER.get(str(kind), {}).items() if f"balancer.{k}" not in given}
    merge(tree, {"balancer": changes} if changes else {})


def _origin(tree: dict[str, Any]) -> list[Any]:
    """Where teacher and images come from."""
    data = tree.get("data")
    return [data.get("path") if isinstance(data, dict) else None, tree.get("teacher"), tree.get("like")]


def _forget_origin(tree: dict[str, Any], before: list[Any], given: list[str]) -> None:
    """Drop what a recipe says of its own teacher and images where these were replaced, unless that was given too."""
    now = _origin(tree)
    if now == before:
        return
    for key in {"licence", "description"}.difference(given):
        tree[key] = ""
    evaluation = tree.get("evaluation")
    if now[0] != before[0] and isinstance(evaluation, dict) and not {"evaluation", "evaluation.data"} & set(given):
        evaluation["data"] = None  # other images: the recipe's held-out ones are of another kind


def parse_recipe(tree: dict[str, Any], source: str, overridden: Sequence[str] = ()) -> AnyRecipe:
    """Validate; every complaint names its key, and the source unless that key was overridden."""
    try:
        return _adapter.validate_python(tree)
    except ValidationError as error:
        key, complaint = _complaint(error, tree)
        own = any(f"{key}.".startswith(f"{o}.") for o in overridden)
        raise UserError(complaint if own else f"recipe {source}: {complaint}") from error


def _complaint(error: ValidationError, tree: dict[str, Any]) -> tuple[str, str]:
    """The first wrong key and what is wrong with it."""
    first = error.errors()[0]
    where = [str(part) for i, part in enumerate(first["loc"]) if i or part not in METHODS]
    key = ".".join(where)
    if first["type"] == "extra_forbidden":
        return key, f"unknown key {key}{near_names(key, known_keys(str(tree.get('method', ''))))}"
    if first["type"] == "missing":
        return key, f"{key} is missing"
    if first["type"].startswith("union_tag"):
        return "method", f"method={tree.get('method')!r} is unknown{near_names(str(tree.get('method')), METHODS)}"
    if first["type"] == "model_type":
        return key, f"{key}={first['input']!r}: is a section; set one of its keys, {key}.KEY=VALUE"
    message = first["msg"].removeprefix("Value error, ")
    if not key or message.startswith(f"{key}."):  # a section's own check names what is wrong in it
        return key, message
    return key, f"{key}={first['input']!r}: {message[0].lower()}{message[1:]}"


def known_keys(method: str) -> dict[str, str]:
    """All dotted keys of a method's recipe, with what each means."""

    def walk(model: type[BaseModel], prefix: str) -> dict[str, str]:
        keys: dict[str, str] = {}
        for name, info in model.model_fields.items():
            if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
                keys |= walk(info.annotation, f"{prefix}{name}.")
            else:
                keys[f"{prefix}{name}"] = info.description or ""
        return keys

    return walk(METHODS[method], "") if method in METHODS else {}


def described(recipe: AnyRecipe) -> dict[str, tuple[Any, str]]:
    """Each dotted key with its value and its meaning."""
    tree = recipe.model_dump(mode="json")
    found = {}
    for key, text in known_keys(recipe.method).items():
        value: Any = tree
        for part in key.split("."):
            value = value[part]
        found[key] = (value, text)
    return found


def dump_recipe(recipe: BaseRecipe) -> str:
    """The whole recipe as YAML, every default written out."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, width=110)


def difference(made_by: BaseRecipe, now: BaseRecipe) -> str | None:
    """The first key that decides the weights and differs between two recipes, with both values; None if none does.

    How often a run reports and how it is measured may change; a run without schedules may also become longer.
    """
    t = made_by.training
    # A last batch that went beyond the end cannot be gone on from.
    longer = now.training.images >= t.images and not made_by.follows_length and t.images % t.batch == 0
    free = {"description", "licence", "evaluation"}
    free |= {f"training.{k}" for k in ("report", "sample", "checkpoint", "keep_checkpoints", "workers")}
    if longer:
        free.add("training.images")

    def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
        leaves: dict[str, Any] = {}
        for key, value in tree.items():
            if f"{prefix}{key}" in free:
                continue
            leaves |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
        return leaves

    old, new = flat(made_by.model_dump(mode="json")), flat(now.model_dump(mode="json"))
    for key in [*old, *new]:
        if old.get(key) != new.get(key):
            return f"{key} is {old.get(key)!r} there and {new.get(key)!r} here"
    return None
