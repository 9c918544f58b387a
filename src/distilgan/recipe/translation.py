"""Recipes of unpaired translation: a CUT or Scenimefy teacher, its Neural-ODE student."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from distilgan.recipe.base import BaseRecipe, Data, DistillRecipe, Evaluation
from distilgan.recipe.section import Section

Width = Annotated[int, Field(ge=1, le=2**16)]


class TranslationData(Data):
    """Photos and pictures in the style, of any size, of which crops are shown."""

    path: str = Field(min_length=1, description="photos: folder or .zip, or builtin:NAME")
    style: str = Field(min_length=1, description="pictures in the style: folder or .zip, or builtin:NAME")
    pairs: str | None = Field(
        None, min_length=1, description="folder or .zip of photos with their translations, for the supervised branch"
    )
    resolution: int = Field(128, ge=16, description="side of the crops, pixels")
    load: int | None = Field(
        None, ge=16, description="larger pictures are reduced to so many pixels along their shorter side; null: none is"
    )
    zoom: float = Field(1.0, ge=1, le=16, description="crops show up to so many times the pixels along a side, reduced")
    mirror: bool = Field(True, description="also show each picture flipped left to right")
    limit: int | None = Field(None, ge=1, description="use the first so many pictures of each set only")


class TranslatorNetwork(Section):
    """CUT's generator, to train from nothing."""

    channels: list[Width] = Field([64, 128, 256], min_length=2, description="widths at full size, half, quarter, ...")
    blocks: int = Field(9, ge=1, le=64, description="residual blocks at the smallest size")
    antialias: bool = Field(True, description="halve by a blur")
    antialias_up: bool = Field(True, description="double by a blur")


class ODEStudent(Section):
    """The student: the teacher's encoder and decoder around neural ODEs, or thinner ones."""

    channels: list[Width] | None = Field(
        None, min_length=2, description="widths as of the teacher; null: the teacher's"
    )
    blocks: int = Field(4, ge=1, le=64, description="ODE blocks at the smallest size")
    antialias: bool | None = Field(None, description="halve by a blur; null: as the teacher")
    antialias_up: bool | None = Field(None, description="double by a blur; null: as the teacher")
    solver: Literal["euler", "midpoint", "rk4", "dopri5"] = Field(
        "euler", description="of the ODEs; dopri5 is adaptive"
    )
    steps: int = Field(1, ge=1, le=64, description="of a fixed-step solver")
    rtol: float = Field(1e-2, gt=0, description="relative tolerance of dopri5")
    atol: float = Field(1e-2, gt=0, description="its absolute tolerance")
    adjoint: bool = Field(False, description="dopri5: gradients by the adjoint equation, which keeps no activations")
    time_input: bool = Field(False, description="give f the time, as a channel")
    last_norm: bool = Field(True, description="f ends in a norm")
    depthwise: bool = Field(False, description="f of depthwise-separable convolutions")
    activation: Literal["relu", "softplus", "silu"] = Field("relu", description="inside f")
    norm: Literal["instance", "batch"] = Field(
        "instance", description="batch is folded into the convolutions by an export"
    )
    folded: int = Field(1, ge=1, le=8, description="pixels of each side that one position of the first layer holds")
    stem: int = Field(7, ge=1, le=15, description="size of the first and last convolution")
    init: Literal["teacher", "fresh"] = Field(
        "teacher", description="encoder, decoder and f begin as the teacher's, where the shapes agree"
    )

    @model_validator(mode="after")
    def _no_idle_option(self) -> ODEStudent:
        idle = ("steps",) if self.solver == "dopri5" else ("rtol", "atol", "adjoint")
        for key in idle:
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"student.{key}: solver={self.solver} does not use it; leave it out")
        return self


class PatchCritic(Section):
    """PatchGAN, for the unsupervised and the supervised branch."""

    width: int = Field(64, ge=1, le=1024, description="of its first layer")
    layers: int = Field(3, ge=1, le=6, description="that halve the size")
    antialias: bool = Field(True, description="halve by a blur")
    loss: Literal["least_squares", "hinge"] = Field("least_squares", description="of both players")
    r1_gamma: float = Field(0.0, ge=0, description="weight γ of R1, γ/2 · E|∇D|², D the mean over the map")
    r1_last: float | None = Field(
        None, gt=0, description="γ at the end, by equal factors in equal times; null: as at first"
    )
    r1_interval: int = Field(16, ge=1, description="R1 every so many steps, scaled up accordingly")

    @model_validator(mode="after")
    def _check(self) -> PatchCritic:
        if self.r1_last is not None and not self.r1_gamma:
            raise ValueError("critic.r1_last: r1_gamma=0 has nothing to fade from; set it")
        return self


class Contrast(Section):
    """Where and how features of a photo and of its translation are compared."""

    taps: list[str] = Field(
        ["image", "down1", "down2", "block1", "block5"], min_length=1,
        description="features of the generator's encoder: image, down1, down2, ..., block1, ...",
    )  # fmt: skip
    places: int = Field(256, ge=2, le=2**16, description="of each tap")
    width: int = Field(256, ge=1, le=4096, description="of the projections")
    temperature: float = Field(0.07, gt=0, description="of PatchNCE, StylePatchNCE and hDCE")
    hard_first: float = Field(50.0, gt=0, description="γ of hDCE's weights at the start")
    hard_last: float = Field(10.0, gt=0, description="and at the end")
    hard_mode: Literal["code", "paper"] = Field("code", description="hDCE's weights as published or as derived")


class StudentContrast(Contrast):
    """A student has fewer blocks."""

    taps: list[str] = Field(
        ["image", "down1", "down2", "block1"],
        min_length=1,
        description="as of a teacher: image, down1, ..., block1, ...",
    )


class UnsupervisedLosses(Section):
    """Weights of photos against pictures in the style; 0 removes a term."""

    gan: float = Field(1.0, ge=0, description="the critic's score")
    nce: float = Field(0.0, ge=0, description="PatchNCE between photo and translation")
    relation: float = Field(0.0, ge=0, description="SRC: the same likenesses between places")
    contrast: float = Field(0.0, ge=0, description="hDCE: PatchNCE, decoupled, with weighted negatives")
    identity: bool = Field(
        False, description="nce or contrast of style pictures with their own translation too, at half"
    )
    flip_equivariance: bool = Field(False, description="translate every second batch mirrored, compare mirrored back")
    content: float = Field(0.0, ge=0, description="distance from the photo in features of a fixed network")
    content_network: str = Field(
        "efficientnet-lite0", description="efficientnet-lite0, or vgg19:PATH to its weights (conv4_4)"
    )


class CUTLosses(UnsupervisedLosses):
    """And how a translator begins that has no teacher."""

    warm_up: int = Field(
        0, ge=0, description="images at the start that are only reproduced, which any translation can begin from"
    )


class SupervisedLosses(Section):
    """Weights of photos with their translations: pairs, or what the teacher makes of the photos."""

    weight: float = Field(0.0, ge=0, description="of the whole branch")
    schedule: Literal["constant", "cosine_decay", "linear_ramp", "off_then_constant", "scenimefy_code"] = Field(
        "cosine_decay", description="what the weight is multiplied by over the run"
    )
    start: float = Field(
        0.0, ge=0, lt=1, description="linear_ramp, off_then_constant: share of the run before it begins"
    )
    gan: float = Field(1.0, ge=0, description="score of a critic that sees photo and translation")
    nce: float = Field(0.1, ge=0, description="StylePatchNCE between translation and partner")


class DistillationLosses(Section):
    """Weights of what compares student and teacher on the same photo; 0 removes a term. A balancer starts from these."""

    output: float = Field(10.0, ge=0, description="mean absolute difference of the pictures")
    high_frequency: float = Field(0.0, ge=0, description="and of their high wavelet bands")
    perceptual: float = Field(0.0, ge=0, description="LPIPS-like distance of the pictures")
    perceptual_network: str = Field(
        "efficientnet-lite0", description="efficientnet-lite0, or lpips:PATH to VGG16 weights"
    )
    alignment: float = Field(0.0, ge=0, description="1 - kernel alignment of bottleneck features")
    relation: float = Field(0.0, ge=0, description="SRC between bottleneck features")
    contrast: float = Field(0.0, ge=0, description="hDCE between bottleneck features")
    channel: float = Field(0.0, ge=0, description="squared difference of bottleneck channels' means, through adapters")


class TranslationEvaluation(Evaluation):
    """How translations are measured."""

    data: str | None = Field(None, description="held-out photos; null: the training photos, and the report says so")
    style: str | None = Field(None, description="held-out pictures in the style; null: those of training")
    crops: int = Field(32, ge=1, description="measured of each picture, spread evenly")
    extractor: str = Field("efficientnet-lite0", description="efficientnet-lite0, or inception:PATH to a weight file")
    perceptual: str = Field("efficientnet-lite0", description="efficientnet-lite0, or lpips:PATH to VGG16 weights")
    latency_runs: int = Field(50, ge=1, description="timed forwards")


class _Translation(BaseRecipe):
    """What both recipes have."""

    powers_of_two = False

    data: TranslationData
    critic: PatchCritic = PatchCritic()
    contrast: Contrast = Contrast()
    unsupervised: UnsupervisedLosses = UnsupervisedLosses()
    supervised: SupervisedLosses = SupervisedLosses()
    evaluation: TranslationEvaluation = TranslationEvaluation()

    @property
    def follows_length(self) -> bool:
        u, s = self.unsupervised, self.supervised
        moves = bool(s.weight) and s.schedule != "constant"
        hardens = bool(u.contrast) and self.contrast.hard_first != self.contrast.hard_last
        return super().follows_length or moves or hardens or self.critic.r1_last is not None

    def image_sources(self) -> dict[str, str]:
        own = {"data.style": self.data.style, "data.pairs": self.data.pairs, "evaluation.style": self.evaluation.style}
        return {**super().image_sources(), **{key: name for key, name in own.items() if name is not None}}

    @model_validator(mode="after")
    def _idle(self) -> _Translation:
        u, s = self.unsupervised, self.supervised
        if u.identity and not (u.nce or u.contrast):
            raise ValueError("unsupervised.identity: needs unsupervised.nce or contrast above 0")
        if s.start and s.schedule not in ("linear_ramp", "off_then_constant"):
            raise ValueError(f"supervised.start: schedule={s.schedule} does not use it; leave it out")
        if s.weight and not (s.gan or s.nce):
            raise ValueError("supervised.gan and nce are 0: set supervised.weight=0 instead")
        side, layers = self.data.resolution, self.critic.layers
        if (u.gan or s.weight * s.gan) and side >> layers < 3:
            raise ValueError(
                f"critic.layers={layers}: nothing would be left to score of data.resolution={side}; use fewer"
            )
        return self


_SMOKE: dict[str, Any] = {
    "data": {"resolution": 64, "load": 96, "zoom": 1.0},
    "critic": {"width": 8},
    "contrast": {"places": 16, "width": 16},
    "evaluation": {"crops": 1},
}


class CUTRecipe(_Translation):
    """Train a translator of photos into a style: a teacher."""

    verb = "train"
    smoke: ClassVar[dict[str, Any]] = {
        **_SMOKE, "network": {"channels": [8, 12, 16]}, "unsupervised": {"warm_up": 16},
    }  # fmt: skip

    method: Literal["cut"] = Field(
        description="train CUT's translator, on unpaired pictures and, like Scenimefy, pairs"
    )
    network: TranslatorNetwork = TranslatorNetwork()
    unsupervised: CUTLosses = CUTLosses()

    @model_validator(mode="after")
    def _taught(self) -> CUTRecipe:
        u, s = self.unsupervised, self.supervised
        if u.warm_up >= self.training.images:
            raise ValueError(
                f"unsupervised.warm_up={u.warm_up}: the run has {self.training.images} images, so nothing is translated"
            )
        if s.weight and self.data.pairs is None:
            raise ValueError(
                "data.pairs is missing: the supervised branch needs pairs; name them, or set supervised.weight=0"
            )
        if self.data.pairs is not None and not s.weight:
            raise ValueError("data.pairs: supervised.weight is 0; leave them out")
        if not (u.gan or s.weight):
            raise ValueError("unsupervised.gan and supervised.weight are 0: nothing says what the style looks like")
        if not (u.nce or u.contrast or u.relation or u.content or s.weight):
            raise ValueError(
                "unsupervised.nce, contrast, relation, content and supervised.weight are 0: nothing keeps the scene"
            )
        return self


class NijiGANRecipe(_Translation, DistillRecipe):
    """Distil a translator into one with a bottleneck of neural ODEs."""

    verb = "distill"
    smoke: ClassVar[dict[str, Any]] = {**_SMOKE, "student": {"channels": [8, 12, 16]}}

    method: Literal["nijigan"] = Field(description="distil a translator of photos into a neural-ODE student")
    contrast: StudentContrast = StudentContrast()
    student: ODEStudent = ODEStudent()
    distillation: DistillationLosses = DistillationLosses()

    @property
    def follows_length(self) -> bool:
        hardens = bool(self.distillation.contrast) and self.contrast.hard_first != self.contrast.hard_last
        return super().follows_length or hardens

    def balanced(self) -> dict[str, float]:
        d = self.distillation
        return {
            "output": d.output, "high_frequency": d.high_frequency, "perceptual": d.perceptual, "alignment": d.alignment,
            "teacher_relation": d.relation, "teacher_contrast": d.contrast, "channel": d.channel,
        }  # fmt: skip

    @model_validator(mode="after")
    def _taught(self) -> NijiGANRecipe:
        u, s = self.unsupervised, self.supervised
        distils = [name for name, weight in self.balanced().items() if weight]
        if self.teacher is None:
            if self.like is None:
                raise ValueError("teacher is null: name the translator whose sizes are taken in `like`")
            if distils:
                key = distils[0].removeprefix("teacher_")
                raise ValueError(f"teacher is null: then distillation.{key} must be 0")
            if self.student.init == "teacher":
                raise ValueError("teacher is null: set student.init=fresh")
            if s.weight and self.data.pairs is None:
                raise ValueError("teacher is null: the supervised branch needs data.pairs, or supervised.weight=0")
        if self.data.pairs is not None and not s.weight:
            raise ValueError("data.pairs: supervised.weight is 0; leave them out")
        if not (u.gan or s.weight or self.distillation.output or self.distillation.perceptual):
            raise ValueError(
                "unsupervised.gan, supervised.weight, distillation.output and perceptual are 0: nothing says what the style "
                "looks like"
            )
        return self
