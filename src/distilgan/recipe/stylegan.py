"""Recipes of the StyleGAN2 family: training a teacher, distilling it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from distilgan.recipe.base import DRAWN_SMOKE, BaseRecipe, DistillRecipe, DrawnEvaluation, Training
from distilgan.recipe.section import Section


class StyleNetwork(Section):
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


class StyleStudent(Section):
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


class StyleLosses(Section):
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


class StyleTraining(Training):
    """The loop, and how StyleGAN2 draws latents in it."""

    style_mixing: float = Field(0.9, ge=0, le=1, description="probability of mixing two latents")


class GANRecipe(BaseRecipe):
    """Train a StyleGAN2 on images alone: a teacher."""

    verb = "train"
    smoke: ClassVar[dict[str, Any]] = {
        "network": {"channel_base": 256, "channel_max": 16, "z_dim": 16, "w_dim": 16, "mapping_layers": 2},
        "evaluation": DRAWN_SMOKE,
    }

    method: Literal["gan"] = Field(description="train a StyleGAN2")
    network: StyleNetwork = StyleNetwork()
    regularisation: Regularisation = Regularisation()
    training: StyleTraining
    evaluation: DrawnEvaluation = DrawnEvaluation()

    @model_validator(mode="after")
    def _wide_enough(self) -> GANRecipe:
        for key in ("channel_base", "discriminator_base"):
            base = getattr(self.network, key)
            if base is not None and base < self.data.resolution:
                raise ValueError(f"network.{key}={base}: leaves no channel at {self.data.resolution} px")
        return self


class StyleKDRecipe(DistillRecipe):
    """Distil a StyleGAN2 into a thinner one."""

    smoke: ClassVar[dict[str, Any]] = {"student": {"keep": 0.15, "score_samples": 8}, "evaluation": DRAWN_SMOKE}

    method: Literal["stylekd"] = Field(description="distil a StyleGAN2")
    critic: Literal["inherit", "fresh"] = Field("inherit", description="the teacher's discriminator, or a new one")
    student: StyleStudent = StyleStudent()
    losses: StyleLosses = StyleLosses()
    latent_direction: LatentDirection = LatentDirection()
    regularisation: Regularisation = Regularisation()
    training: StyleTraining
    evaluation: DrawnEvaluation = DrawnEvaluation()
    perceptual: str = Field("efficientnet-lite0", description="efficientnet-lite0, or lpips:PATH to VGG16 weights")
    share_noise: bool = Field(True, description="teacher and student see the same noise fields")

    @model_validator(mode="after")
    def _some_term(self) -> StyleKDRecipe:
        if not any(self.losses.model_dump().values()):
            raise ValueError("losses: every weight is 0, so there is nothing to learn")
        return self

    def balanced(self) -> dict[str, float]:
        n = self.losses
        return {"pixel": n.pixel, "perceptual": n.perceptual, "latent_direction": n.latent_direction}

    @model_validator(mode="after")
    def _teacher(self) -> StyleKDRecipe:
        self.balancer.check_without_people(self.teacher)
        uses = self.student.init != "random" or self.critic == "inherit" or self.losses.pixel or self.losses.perceptual
        if self.teacher is None and (uses or self.losses.latent_direction):
            raise ValueError(
                "teacher is null: then student.init must be random, critic fresh, and losses.pixel, losses.perceptual "
                "and losses.latent_direction 0"
            )
        if self.teacher is None and self.like is None:
            raise ValueError("teacher is null: name the generator whose architecture is thinned in `like`")
        return self
