"""The typed recipe: everything that decides the result of a run, in one YAML file.

A recipe is read, overridden by `key=value` pairs, validated here, and written out whole into the run folder. Nothing in
this file imports torch, so that a wrong key is refused before anything heavy is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from distilgan.errors import UserError, near_names
from distilgan.overrides import SMOKE, apply_override, merge, read_yaml

RECIPES = Path(__file__).parent / "recipes"


class Section(BaseModel):
    """A part of a recipe; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _fits(cls, value: Any) -> Any:
        if isinstance(value, int) and value > 2**53:
            raise ValueError("is too large")
        return value


class Data(Section):
    """Real images."""

    path: str = Field(min_length=1, description="folder or .zip of images, or builtin:NAME")
    resolution: int = Field(64, ge=8, description="pixels; other sizes are cropped to a square and resized")
    mirror: bool = Field(False, description="also show each image flipped left to right")
    strict: bool = Field(False, description="refuse corrupt files instead of skipping them")
    limit: int | None = Field(None, ge=1, description="use the first so many images only")


class Network(Section):
    """A StyleGAN2 generator and discriminator to train from nothing."""

    channel_base: int = Field(
        4096, ge=8, le=2**20, description="width at resolution r is min(channel_base / r, channel_max)"
    )
    channel_max: int = Field(192, ge=1, le=2**16, description="largest width")
    discriminator_base: int | None = Field(
        None, ge=8, le=2**20, description="like channel_base, for the discriminator; null: the same"
    )
    discriminator_max: int | None = Field(None, ge=1, le=2**16, description="null: the same as channel_max")
    z_dim: int = Field(128, ge=1, le=2**16, description="length of the latent z")
    w_dim: int = Field(128, ge=1, le=2**16, description="length of the style w")
    mapping_layers: int = Field(4, ge=1, le=64, description="depth of the mapping network")
    conv_clamp: float | None = Field(256.0, gt=0, description="activations are clipped to ± this; null: not")
    mbstd_group: int = Field(4, ge=1, description="samples in a minibatch-deviation group")


class Student(Section):
    """What the student is and where its weights come from."""

    init: Literal["slice", "mapping", "random"] = Field(
        "slice", description="slice: mapping and chosen channels of the teacher; mapping: mapping only; random: nothing"
    )
    keep: float = Field(
        0.3, gt=0, le=1, description="share of the teacher's channels that stay: c - floor((1 - keep) c)"
    )
    channels: list[Annotated[int, Field(ge=1)]] | None = Field(
        None, description="explicit widths, one a layer; replaces keep"
    )
    score: Literal["dcp", "cagc", "l1", "random"] = Field("dcp", description="how channels are chosen for slice")
    score_samples: int = Field(512, ge=1, description="latents that the gradient scores look at")
    train_mapping: bool = Field(True, description="whether the mapping network trains")


class Losses(Section):
    """Weights of the generator's terms; 0 removes a term."""

    gan: float = Field(1.0, ge=0, description="non-saturating GAN loss")
    pixel: float = Field(3.0, ge=0, description="mean absolute difference from the teacher's image")
    perceptual: float = Field(3.0, ge=0, description="feature distance from the teacher's image")
    latent_direction: float = Field(30.0, ge=0, description="KL between the two networks' cross-view similarities")


class LatentDirection(Section):
    """The latent-direction term of StyleKD."""

    per_block: int = Field(5, ge=1, description="directions from each block's style weights")
    first_block: int = Field(8, description="resolution of the first block that gives directions")
    last_block: int | None = Field(None, description="and of the last; null: the student's last but none above 128")
    taps: list[str] | None = Field(None, description="layers compared; null: conv1 of the blocks from 16 to 128 px")
    step: float = Field(5.0, gt=0, description="deviation of the step along a direction")
    temperature: float = Field(1.0, gt=0, description="of the softmax over similarities")
    group: int = Field(8, ge=2, description="samples compared with each other")


class Regularisation(Section):
    """Regularisers of the two players."""

    r1_gamma: float = Field(1.0, ge=0, description="weight γ of R1, γ/2 · E|∇D|²")
    r1_interval: int = Field(16, ge=1, description="R1 every so many steps, scaled up accordingly")
    path_length: float = Field(0.0, ge=0, description="weight of path-length regularisation")
    path_length_interval: int = Field(4, ge=1, description="path length every so many steps, scaled up")
    path_length_decay: float = Field(0.01, gt=0, le=1, description="of the running mean length")
    diffaugment: list[Literal["color", "translation", "cutout"]] = Field(
        default_factory=list, description="augmentations"
    )


class Optimiser(Section):
    """Adam, for both players."""

    lr: float = Field(0.002, gt=0, description="learning rate of the generator")
    discriminator_lr: float | None = Field(None, gt=0, description="null: the same as lr")
    beta1: float = Field(0.0, ge=0, lt=1, description="decay of the first moment")
    beta2: float = Field(0.99, ge=0, lt=1, description="decay of the second moment")
    warmup: int = Field(0, ge=0, description="images over which the rate rises linearly")
    decay: float = Field(
        0.0, ge=0, le=1, description="share of the run, at its end, over which the rate falls to a tenth"
    )


class Training(Section):
    """The loop; every length is in images."""

    images: int = Field(ge=1, description="length of the run")
    batch: int = Field(16, ge=1, description="images in a step, over all processes")
    micro_batch: int | None = Field(None, ge=1, description="images a process holds at once; null: its whole share")
    style_mixing: float = Field(0.9, ge=0, le=1, description="probability of mixing two latents")
    ema_half_life: int = Field(2000, ge=1, description="of the averaged weights, images")
    ema_rampup: float | None = Field(
        0.05, gt=0, description="half-life is at most this share of the images seen; null: no ramp"
    )
    report: int = Field(1000, ge=1, description="images between lines in log.jsonl")
    sample: int = Field(5000, ge=1, description="images between sample grids")
    checkpoint: int = Field(5000, ge=1, description="images between checkpoints")
    keep_checkpoints: int = Field(2, ge=1, description="how many of the newest stay")
    precision: Annotated[Literal["auto", "32", "bf16"], BeforeValidator(lambda v: "32" if v == 32 else v)] = Field(
        "auto", description="auto: bf16 where the hardware multiplies it natively"
    )
    workers: int = Field(0, ge=0, description="processes that decode images when the set does not fit in memory")


class Evaluation(Section):
    """How the result is measured."""

    data: str | None = Field(None, description="held-out images; null: the training images, and the report says so")
    samples: int = Field(1000, ge=8, description="pictures drawn")
    reference: int | None = Field(None, ge=8, description="use the first so many held-out images; null: all")
    extractor: str = Field("efficientnet-lite0", description="efficientnet-lite0, or inception:PATH to a weight file")
    truncation: float = Field(1.0, gt=0, description="ψ; 1 draws from the whole distribution")
    latency_runs: int = Field(30, ge=1, description="timed forwards")


class BaseRecipe(Section):
    name: str = Field(description="names the default run folder and the model card")
    description: str = Field("", description="one line for the list of recipes and the report")
    seed: int = Field(0, ge=0, description="of everything random")
    licence: str = Field("", description="terms of teacher and data, repeated in the model card")
    data: Data
    regularisation: Regularisation = Regularisation()
    optimiser: Optimiser = Optimiser()
    training: Training
    evaluation: Evaluation = Evaluation()

    @model_validator(mode="after")
    def _consistent(self) -> BaseRecipe:
        t = self.training
        if t.micro_batch and t.batch % t.micro_batch:
            raise ValueError(f"training.batch={t.batch} is not a multiple of training.micro_batch={t.micro_batch}")
        if self.data.resolution & (self.data.resolution - 1):
            raise ValueError(f"data.resolution={self.data.resolution}: StyleGAN2 needs a power of two")
        return self


class GANRecipe(BaseRecipe):
    """Train a generator on images alone: a teacher."""

    method: Literal["gan"] = Field(description="train")
    network: Network = Network()

    @model_validator(mode="after")
    def _wide_enough(self) -> GANRecipe:
        for key in ("channel_base", "discriminator_base"):
            base = getattr(self.network, key)
            if base is not None and base < self.data.resolution:
                raise ValueError(f"network.{key}={base}: leaves no channel at {self.data.resolution} px")
        return self


class StyleKDRecipe(BaseRecipe):
    """Distil a StyleGAN2 into a thinner one."""

    method: Literal["stylekd"] = Field(description="distil a StyleGAN2")
    teacher: str | None = Field(
        min_length=1,
        description="folder of a generator, a run, or builtin:NAME; null: no teacher, but its sizes from like",
    )
    like: str | None = Field(None, description="without a teacher: the generator whose architecture is thinned")
    critic: Literal["inherit", "fresh"] = Field("inherit", description="the teacher's discriminator, or a new one")
    student: Student = Student()
    losses: Losses = Losses()
    latent_direction: LatentDirection = LatentDirection()
    perceptual: str = Field("efficientnet-lite0", description="efficientnet-lite0, or lpips:PATH to VGG16 weights")
    share_noise: bool = Field(True, description="teacher and student see the same noise fields")

    @model_validator(mode="after")
    def _some_term(self) -> StyleKDRecipe:
        if not any(self.losses.model_dump().values()):
            raise ValueError("losses: every weight is 0, so there is nothing to learn")
        return self

    @model_validator(mode="after")
    def _teacher(self) -> StyleKDRecipe:
        uses = self.student.init != "random" or self.critic == "inherit" or self.losses.pixel or self.losses.perceptual
        if self.teacher is None and (uses or self.losses.latent_direction):
            raise ValueError(
                "teacher is null: then student.init must be random, critic fresh, and losses.pixel, losses.perceptual "
                "and losses.latent_direction 0"
            )
        if self.teacher is None and self.like is None:
            raise ValueError("teacher is null: name the generator whose architecture is thinned in `like`")
        return self


Recipe = Annotated[GANRecipe | StyleKDRecipe, Field(discriminator="method")]
_adapter: TypeAdapter[GANRecipe | StyleKDRecipe] = TypeAdapter(Recipe)


def packaged() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(p.stem for p in RECIPES.glob("*.yaml"))


def load_recipe(name: str, overrides: list[str] | None = None, smoke: bool = False) -> GANRecipe | StyleKDRecipe:
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
    packaged_origin, given = _origin(tree), [o.partition("=")[0] for o in overrides or []]
    for override in overrides or []:
        apply_override(tree, override)
    _forget_origin(tree, packaged_origin, given)
    return parse_recipe(tree, str(path), given)


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


def parse_recipe(tree: dict[str, Any], source: str, overridden: Sequence[str] = ()) -> GANRecipe | StyleKDRecipe:
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
    where = [str(part) for i, part in enumerate(first["loc"]) if i or part not in ("gan", "stylekd")]
    key = ".".join(where)
    if first["type"] == "extra_forbidden":
        return key, f"unknown key {key}{near_names(key, known_keys(str(tree.get('method', ''))))}"
    if first["type"] == "missing":
        return key, f"{key} is missing"
    if first["type"].startswith("union_tag"):
        return "method", f"method={tree.get('method')!r} is unknown; known: gan, stylekd"
    if first["type"] == "model_type":
        return key, f"{key}={first['input']!r}: is a section; set one of its keys, {key}.KEY=VALUE"
    message = first["msg"].removeprefix("Value error, ")
    if not key:
        return key, message
    return key, f"{key}={first['input']!r}: {message[0].lower()}{message[1:]}"


def known_keys(method: str) -> dict[str, str]:
    """All dotted keys of a method's recipe, with what each means."""
    models: dict[str, type[BaseModel]] = {"gan": GANRecipe, "stylekd": StyleKDRecipe}

    def walk(model: type[BaseModel], prefix: str) -> dict[str, str]:
        keys: dict[str, str] = {}
        for name, info in model.model_fields.items():
            if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
                keys |= walk(info.annotation, f"{prefix}{name}.")
            else:
                keys[f"{prefix}{name}"] = info.description or ""
        return keys

    return walk(models[method], "") if method in models else {}


def described(recipe: GANRecipe | StyleKDRecipe) -> dict[str, tuple[Any, str]]:
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

    How often a run reports and how it is measured may change; a run without learning-rate decay may also become longer.
    """
    t = made_by.training
    # A last batch that went beyond the end cannot be gone on from.
    longer = now.training.images >= t.images and made_by.optimiser.decay == 0 and t.images % t.batch == 0
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
