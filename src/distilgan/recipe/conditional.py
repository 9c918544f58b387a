"""Recipes of the class-conditional family: training a BigGAN, distilling any class-conditional generator."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from distilgan.recipe.base import DRAWN_SMOKE, BaseRecipe, DistillRecipe, DrawnEvaluation
from distilgan.recipe.section import Section

Width = Annotated[int, Field(ge=1, le=2**16)]
Augmentations = list[Literal["color", "translation", "cutout"]]


class BigGANNetwork(Section):
    """A BigGAN generator and its residual critic, to train from nothing."""

    channels: list[Width] = Field(
        [384, 256, 96, 48], min_length=2, description="widths of the 4x4 stem and of each block, which doubles the size"
    )
    z_dim: int = Field(64, ge=1, le=2**16, description="length of the latent, cut into one piece for each width above")
    embed_dim: int = Field(64, ge=1, le=2**16, description="length of the shared class embedding")
    attention: list[int] = Field(default_factory=list, description="sizes at which the generator has self-attention")
    latent: Literal["normal", "truncated_normal"] = Field("normal", description="distribution of the latent")
    discriminator_channels: list[Width] = Field(
        [64, 128, 192], min_length=1, description="widths of the critic's blocks, each of which halves the size"
    )
    discriminator_attention: list[int] = Field(default_factory=list, description="and the critic")


class BigGANRecipe(BaseRecipe):
    """Train a BigGAN on labelled images: a teacher."""

    verb = "train"
    smoke: ClassVar[dict[str, Any]] = {
        "network": {"channels": [16, 16, 8, 8], "z_dim": 16, "embed_dim": 8, "discriminator_channels": [8, 8, 16]},
        "evaluation": DRAWN_SMOKE,
    }

    method: Literal["biggan"] = Field(description="train a class-conditional BigGAN")
    network: BigGANNetwork = BigGANNetwork()
    augment: Augmentations = Field(default_factory=list, description="DiffAugment in front of the critic")
    evaluation: DrawnEvaluation = DrawnEvaluation()


class Pairs(Section):
    """Latents and classes with the teacher's pictures: the student's lessons."""

    store: str | None = Field(
        None,
        min_length=1,
        description="folder written by `distilgan data pairs`; null: the teacher draws in every step",
    )
    truncation: float = Field(1.0, gt=0, description="at which the teacher draws; the student's 1 means the same")
    latent: Literal["normal", "truncated_normal", "uniform"] | None = Field(
        None, description="distribution of the teacher's latents; null: its own"
    )


class ConditionalStudent(Section):
    """The student's architecture."""

    architecture: Literal["tinygan", "distylegan"] = Field("tinygan", description="which family")
    channels: list[Width] = Field(
        [512, 512, 256, 128, 64, 32],
        min_length=2,
        description="widths of the 4x4 stem and of each block, which doubles the size",
    )
    embed_dim: int = Field(128, ge=1, le=2**16, description="tinygan: length of the class embedding")
    depthwise: bool = Field(True, description="tinygan: depthwise and pointwise convolutions instead of plain 3x3 ones")
    skip_z: bool = Field(False, description="tinygan: the latent also enters every normalisation")
    class_at_stem: bool = Field(False, description="tinygan: the class also enters the stem")
    project_dim: int = Field(
        128, ge=1, le=2**16, description="distylegan: length that the latent is projected to, and its critic's features"
    )


class Critic(Section):
    """The student's own discriminator, always a new one."""

    architecture: Literal["projection", "distylegan"] = Field(
        "projection", description="projection: the class multiplies the features; distylegan: it only adds a constant"
    )
    channels: list[Width] = Field(
        [32, 64, 128, 256, 512],
        min_length=1,
        description="widths of the 4x4 convolutions, each of which halves the size",
    )
    slope: float = Field(0.01, ge=0, lt=1, description="of the leaky ReLU")
    augment: Augmentations = Field(default_factory=list, description="DiffAugment in front of the critic")


class ConditionalLosses(Section):
    """Weights of the terms; 0 removes one."""

    feature: float = Field(
        1.0, ge=0, description="L_KD_feat: distance from the teacher's picture in the critic's features"
    )
    feature_layers: list[Annotated[float, Field(ge=0)]] | None = Field(
        None,
        min_length=1,
        description="weights α of the critic's layers; null: 1 for the last, 1/4, 1/8, ... for those before",
    )
    pixel: float = Field(0.2, ge=0, description="λ1, L_KD_pix: mean absolute difference from the teacher's picture")
    pixel_fall: float | None = Field(
        None, ge=1e-9, description="share of the run over which λ1 falls linearly to 0; null: it stays"
    )
    pixel_steps: int | None = Field(None, ge=1, description="λ1 falls in so many equal steps; null: at every batch")
    distill_gan: float = Field(0.01, ge=0, description="λ2, L_KD_S: critic's score on the teacher's inputs")
    gan: float = Field(0.002, ge=0, description="λ3, L_GAN_S: critic's score on random inputs")
    critic_distill: float = Field(1.0, ge=0, description="L_KD_D: hinge, teacher's pictures against the student's")
    critic_gan: float = Field(0.2, ge=0, description="λ4, L_GAN_D: hinge, data against the student's random pictures")
    moments: float = Field(0.0, ge=0, description="DiME: squared distance from the teacher's feature moments")
    moments_per_class: bool = Field(True, description="DiME: moments of each class instead of all pictures'")
    moments_samples: int = Field(2000, ge=2, description="DiME: teacher's pictures that its moments are taken from")
    moments_size: int = Field(96, ge=32, description="DiME: side to which pictures are brought for its features")
    adversarial_every: int = Field(5, ge=1, description="the student's two critic terms enter every so many steps")
    fresh_features: bool = Field(
        True, description="the teacher's features come from the critic as it is now, not from before its update"
    )


class TinyGANRecipe(DistillRecipe):
    """Distil a class-conditional generator that is known only by its pictures."""

    smoke: ClassVar[dict[str, Any]] = {
        "losses": {"moments_samples": 16, "adversarial_every": 2},
        "evaluation": DRAWN_SMOKE,
    }

    method: Literal["tinygan"] = Field(description="distil a class-conditional generator, a black box")
    pairs: Pairs = Pairs()
    student: ConditionalStudent = ConditionalStudent()
    critic: Critic = Critic()
    losses: ConditionalLosses = ConditionalLosses()
    evaluation: DrawnEvaluation = DrawnEvaluation()

    def other_sources(self) -> dict[str, str]:
        return {**super().other_sources(), **({"pairs.store": self.pairs.store} if self.pairs.store else {})}

    @property
    def follows_length(self) -> bool:
        return super().follows_length or self.losses.pixel_fall is not None

    @model_validator(mode="after")
    def _some_term(self) -> TinyGANRecipe:
        n = self.losses
        if n.feature_layers is not None and not any(n.feature_layers):
            raise ValueError(f"losses.feature_layers={n.feature_layers}: all are 0; set losses.feature=0 instead")
        if not (n.feature or n.pixel or n.distill_gan or n.gan or n.moments):
            raise ValueError("losses: every weight is 0, so there is nothing to learn")
        if self.uses_critic and not (n.critic_distill or n.critic_gan):
            raise ValueError("losses.critic_distill and losses.critic_gan are 0: the critic would learn nothing")
        others = n.feature or n.distill_gan or n.gan or n.moments
        if not others and n.pixel_fall is not None and n.pixel_fall < 1:
            raise ValueError("losses.pixel_fall is below 1 and no other term is left: nothing would be learnt after it")
        steps = self.training.images // self.training.batch
        if not (n.feature or n.pixel or n.moments) and n.adversarial_every > steps:
            raise ValueError(
                f"losses.adversarial_every={n.adversarial_every}: the run has {steps} steps and no other term, so nothing would be "
                "learnt"
            )
        if n.pixel_steps and n.pixel_fall is None:
            raise ValueError("losses.pixel_steps needs losses.pixel_fall, the share of the run that λ1 falls over")
        return self

    @model_validator(mode="after")
    def _no_idle_option(self) -> TinyGANRecipe:
        """An option that would change nothing is a mistake."""
        for key in ("depthwise", "skip_z", "class_at_stem"):
            changed = getattr(self.student, key) != ConditionalStudent.model_fields[key].default
            if changed and self.student.architecture == "distylegan":
                raise ValueError(f"student.{key}: architecture=distylegan has none")
        if self.losses.feature_layers is not None and not self.losses.feature:
            raise ValueError("losses.feature_layers: losses.feature is 0; leave the layers out")
        if self.pairs.latent is not None and not self.uses_pairs:
            raise ValueError("pairs.latent: no term uses the teacher's pictures; leave it out")
        return self

    def balanced(self) -> dict[str, float]:
        return {"feature": self.losses.feature, "pixel": self.losses.pixel}

    @model_validator(mode="after")
    def _teacher(self) -> TinyGANRecipe:
        self.balancer.check_without_people(self.teacher)
        if self.balancer.kind != "fixed" and self.losses.pixel_fall is not None:
            raise ValueError(f"balancer.kind={self.balancer.kind}: moves λ1 itself; set losses.pixel_fall=null")
        if self.teacher is None and self.pairs.store is None:
            taught = ("feature", "pixel", "distill_gan", "critic_distill", "moments")
            used = next((key for key in taught if getattr(self.losses, key)), None)
            if used:
                raise ValueError(f"teacher is null and there is no pairs.store: then losses.{used} must be 0")
            if self.like is None:
                raise ValueError("teacher is null: name the generator whose inputs the student takes in `like`")
        return self

    @property
    def uses_critic(self) -> bool:
        return bool(self.losses.feature or self.losses.distill_gan or self.losses.gan)

    @property
    def uses_pairs(self) -> bool:
        n = self.losses
        return bool(n.feature or n.pixel or n.distill_gan or (self.uses_critic and n.critic_distill) or n.moments)

    @property
    def uses_random(self) -> bool:
        return self.uses_critic and bool(self.losses.gan or self.losses.critic_gan)
