"""The sections that recipes of every method have."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from distilgan.recipe.balancer import Balancing
from distilgan.recipe.section import Section


class Data(Section):
    """Real images."""

    path: str = Field(min_length=1, description="folder or .zip of images, or builtin:NAME")
    resolution: int = Field(64, ge=8, description="pixels; other sizes are cropped to a square and resized")
    mirror: bool = Field(False, description="also show each image flipped left to right")
    strict: bool = Field(False, description="refuse corrupt files instead of skipping them")
    limit: int | None = Field(None, ge=1, description="use the first so many images only")


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
    micro_batch: int | None = Field(
        None,
        ge=1,
        description="images that a process holds, and batch normalisation sees, at once; null: its whole share",
    )
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
    latency_runs: int = Field(30, ge=1, description="timed forwards")


class DrawnEvaluation(Evaluation):
    """How a generator of pictures from latents is measured."""

    samples: int = Field(1000, ge=8, description="pictures drawn")
    reference: int | None = Field(None, ge=8, description="use the first so many held-out images; null: all")
    extractor: str = Field("efficientnet-lite0", description="efficientnet-lite0, or inception:PATH to a weight file")
    truncation: float = Field(1.0, gt=0, description="ψ; 1 draws from the whole distribution")
    classifier_images: int = Field(
        2000, ge=0, description="labelled training images that the classifier for class accuracy learns from; 0: none"
    )

    @model_validator(mode="after")
    def _enough_to_learn_from(self) -> DrawnEvaluation:
        if 0 < self.classifier_images < 8:
            raise ValueError(f"evaluation.classifier_images={self.classifier_images}: give at least 8, or 0 for none")
        return self


# What --smoke changes in the recipes that have it.
DRAWN_SMOKE = {"samples": 32, "reference": 32, "classifier_images": 64}


class BaseRecipe(Section):
    """What every run is told.

    Attributes:
        verb: the command that runs it.
        smoke: what --smoke changes in it: every part runs, nothing is learnt.
        powers_of_two: whether its networks need pictures of such a size.
    """

    verb: ClassVar[Literal["train", "distill"]]
    smoke: ClassVar[dict[str, Any]] = {}
    powers_of_two: ClassVar[bool] = True

    name: str = Field(description="names the default run folder and the model card")
    description: str = Field("", description="one line for the list of recipes and the report")
    seed: int = Field(0, ge=0, description="of everything random")
    licence: str = Field("", description="terms of teacher and data, repeated in the model card")
    data: Data
    optimiser: Optimiser = Optimiser()
    training: Training
    evaluation: Evaluation = Evaluation()

    @property
    def compared_with(self) -> str | None:
        """The generator that the result is measured beside."""
        return None

    @property
    def follows_length(self) -> bool:
        """Whether a schedule is a share of the run's length, which then cannot change."""
        return self.optimiser.decay > 0

    @property
    def steps(self) -> int:
        """Of the run."""
        return -(-self.training.images // self.training.batch)

    def check_critic_steps(self, gan: float, every: int) -> None:
        """Raise ValueError if the critic learns so often between two steps of the generator that it never moves."""
        if gan and every > self.steps:
            raise ValueError(f"adversary.every={every}: the run has {self.steps} steps, so the generator never moves")

    def image_sources(self) -> dict[str, str]:
        """Dotted keys that name images to read, with their values."""
        found = {"data.path": self.data.path, "evaluation.data": self.evaluation.data}
        return {key: name for key, name in found.items() if name is not None}

    def other_sources(self) -> dict[str, str]:
        """Dotted keys that name anything else to read, with their values."""
        return {}

    @model_validator(mode="after")
    def _consistent(self) -> BaseRecipe:
        t = self.training
        if t.micro_batch and t.batch % t.micro_batch:
            raise ValueError(f"training.batch={t.batch} is not a multiple of training.micro_batch={t.micro_batch}")
        if self.powers_of_two and self.data.resolution & (self.data.resolution - 1):
            raise ValueError(f"data.resolution={self.data.resolution}: must be a power of two")
        return self


class DistillRecipe(BaseRecipe):
    """A student of a teacher, or a network of the student's size that has none."""

    verb = "distill"

    teacher: str | None = Field(
        min_length=1,
        description="folder of a generator, a run, or builtin:NAME; null: no teacher, but its sizes from like",
    )
    like: str | None = Field(
        None, min_length=1, description="without a teacher: the generator whose inputs and sizes are taken"
    )
    balancer: Balancing = Balancing()

    @property
    def compared_with(self) -> str | None:
        return self.teacher or self.like

    @property
    def follows_length(self) -> bool:
        b = self.balancer
        told = b.kind == "metakd" or (b.kind == "dwa" and b.interval is None)  # how much of the run is over
        return super().follows_length or told

    def balanced(self) -> dict[str, float]:
        """The terms that the balancer weighs, with their weights; 0 for those that take no part."""
        return {}

    @model_validator(mode="after")
    def _something_to_balance(self) -> DistillRecipe:
        kind, terms = self.balancer.kind, self.balanced()
        if kind != "fixed" and sum(map(bool, terms.values())) < 2:
            raise ValueError(f"balancer.kind={kind}: needs two of the terms {', '.join(terms)} with weights above 0")
        if kind == "famo" and self.training.micro_batch:
            raise ValueError("balancer.kind=famo: weighs whole batches; leave training.micro_batch out")
        self.balancer.check_length(self.training.images, self.training.batch)
        return self

    @model_validator(mode="after")
    def _one_generator(self) -> DistillRecipe:
        if self.teacher is not None and self.like is not None:
            raise ValueError("like: is for runs without a teacher; leave it out, or set teacher=null")
        return self

    def other_sources(self) -> dict[str, str]:
        found = {"teacher": self.teacher, "like": self.like}
        return {key: name for key, name in found.items() if name is not None}
