"""Recipes of face frontalization: an identity network, a TP-GAN teacher, its student by MetaKD."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from distilgan.recipe.balancer import Balancing, Kind
from distilgan.recipe.base import BaseRecipe, Data, DistillRecipe, Evaluation
from distilgan.recipe.section import Section

Width = Annotated[int, Field(ge=1, le=2**16)]


class FaceData(Data):
    """Faces with their frontal partners."""

    path: str = Field(
        min_length=1, description="folder, .zip or table of pairs, files named as in Multi-PIE, or builtin:NAME"
    )
    resolution: int = Field(64, ge=8, description="pixels; faces are aligned by their landmarks, or taken as aligned")
    mirror: bool = Field(False, description="also show each pair flipped left to right")
    limit: int | None = Field(None, ge=1, description="use no more pairs, those of whole people")


class PeopleEvaluation(Evaluation):
    """On whom networks for faces are measured: held-out data must hold other people."""

    data: str | None = Field(
        None, description="pairs of other people; null: the training pairs, and the report says so"
    )
    limit: int | None = Field(None, ge=8, description="use no more held-out pairs, those of whole people; null: all")


class FaceEvaluation(PeopleEvaluation):
    """How turned faces are measured."""

    identity: str | None = Field(
        None, description="network that tells people apart: folder, run, builtin:NAME, .onnx, or lightcnn-29v2:PATH"
    )
    perceptual: str = Field("efficientnet-lite0", description="efficientnet-lite0, or lpips:PATH to VGG16 weights")


class IdentitySize(Section):
    """The identity network."""

    channels: list[Width] = Field([16, 32, 64, 128], min_length=1, description="widths; each stage halves the size")
    embedding: int = Field(128, ge=1, le=2**16, description="length of the direction that stands for a person")


class IdentityRecipe(BaseRecipe):
    """Train a network that tells the people of a set of faces apart, from any side."""

    verb = "train"
    smoke: ClassVar[dict[str, Any]] = {"network": {"channels": [8, 8, 16]}}

    method: Literal["identity"] = Field(description="train a network that tells people apart")
    data: FaceData
    network: IdentitySize = IdentitySize()
    scale: float = Field(24.0, gt=0, description="of the cosines in the softmax")
    margin: float = Field(0.2, ge=0, lt=1, description="by which the right person's cosine must be ahead")
    evaluation: PeopleEvaluation = PeopleEvaluation()


class FrontalNetwork(Section):
    """A TP-GAN and its critic, to train from nothing."""

    width: float = Field(1.0, gt=0, le=4, description="of the global pathway, in published widths")
    local_width: float = Field(1.0, gt=0, le=4, description="of the local pathways")
    fused: int = Field(64, ge=1, le=1024, description="channels that local pathways hand to the global one")
    code: int = Field(256, ge=1, le=2**16, description="length of the bottleneck")
    z_dim: int = Field(0, ge=0, le=2**16, description="length of the noise beside it; 64 as published, 0: none")
    critic_width: float = Field(1.0, gt=0, le=4, description="of the critic, in published widths")


class Adversary(Section):
    """The critic's loss."""

    loss: Literal["logistic", "wgan"] = Field(
        "logistic", description="logistic with R1, or Wasserstein with its penalty"
    )
    r1_gamma: float = Field(1.0, ge=0, description="logistic: weight γ of R1, γ/2 · E|∇D|², D the mean over the map")
    r1_interval: int = Field(16, ge=1, description="logistic: R1 every so many steps, scaled up accordingly")
    penalty: float = Field(10.0, ge=0, description="wgan: weight of (|∇D| - 1)²")
    real: float = Field(1.0, gt=0.5, le=1, description="logistic: target for real pictures; 0.9 as published")
    every: int = Field(1, ge=1, description="the generator moves every so many steps, the critic at each")

    @model_validator(mode="after")
    def _no_idle_option(self) -> Adversary:
        for key in ("penalty",) if self.loss == "logistic" else ("r1_gamma", "r1_interval", "real"):
            default = type(self).model_fields[key].default
            if getattr(self, key) != default:
                raise ValueError(f"adversary.{key}: loss={self.loss} does not use it; leave it out, or at {default:g}")
        return self


class FrontalLosses(Section):
    """Weights of the terms of frontalization; 0 removes one. All are means over batch, channels and pixels."""

    pixel: float = Field(1.0, ge=0, description="mean absolute difference at full size")
    half: float = Field(1.0, ge=0, description="and at half size")
    quarter: float = Field(1.5, ge=0, description="and at a quarter")
    local: float = Field(3.0, ge=0, description="mean over the four patches of their mean absolute difference")
    symmetry: float = Field(0.3, ge=0, description="difference from the own mirror image, at the sizes' weights above")
    gan: float = Field(1e-3, ge=0, description="the critic's score")
    identity: float = Field(3e-3, ge=0, description="1 - cosine of identity features with the true frontal face's")
    variation: float = Field(1e-4, ge=0, description="total variation")
    cross_entropy: float = Field(1e-3, ge=0, description="cross-entropy of the bottleneck's guess of the person")


class TPGANRecipe(BaseRecipe):
    """Train a TP-GAN on pairs of faces: a teacher."""

    verb = "train"
    smoke: ClassVar[dict[str, Any]] = {
        "network": {"width": 0.07, "local_width": 0.07, "fused": 4, "code": 16, "critic_width": 0.07},
        "data": {"limit": 130},
        "evaluation": {"limit": 52},
    }

    method: Literal["tpgan"] = Field(description="train a TP-GAN")
    data: FaceData
    network: FrontalNetwork = FrontalNetwork()
    losses: FrontalLosses = FrontalLosses()
    adversary: Adversary = Adversary()
    identity_network: str | None = Field(
        None, min_length=1, description="of the identity term: folder, run, builtin:NAME, or lightcnn-29v2:PATH"
    )
    evaluation: FaceEvaluation = FaceEvaluation()

    def other_sources(self) -> dict[str, str]:
        return _named(identity_network=self.identity_network, evaluation_identity=self.evaluation.identity)

    @model_validator(mode="after")
    def _some_term(self) -> TPGANRecipe:
        n = self.losses
        if not (n.pixel or n.half or n.quarter or n.local):
            raise ValueError(
                "losses.pixel, half, quarter and local are 0: nothing says what the frontal face looks like"
            )
        if not (n.pixel or n.gan or n.identity):
            raise ValueError("losses.pixel, gan and identity are 0: nothing reaches the layers that make the picture")
        if n.symmetry and not (n.pixel or n.half or n.quarter):
            raise ValueError("losses.symmetry: takes its sizes' weights from losses.pixel, half and quarter, all 0")
        self.check_critic_steps(n.gan, self.adversary.every)
        _check_identity_network(n.identity, self.identity_network)
        return self


class FrontalStudent(Section):
    """The student: shares of the teacher's widths."""

    width: float = Field(0.5, gt=0, le=1, description="of the global pathway")
    local_width: float = Field(0.25, gt=0, le=1, description="of the local pathways")
    fused: float = Field(1.0, gt=0, le=1, description="of the channels that local pathways hand over")
    critic_width: float = Field(0.5, gt=0, le=4, description="of its critic, in published widths")


class MetaKDLosses(Section):
    """Weights of the terms; 0 removes one. The first three are what a balancer starts from."""

    pixel: float = Field(1.0, ge=0, description="mean absolute difference from the teacher's picture")
    local: float = Field(3.0, ge=0, description="mean over the four patches of their difference from the teacher's")
    feature: float = Field(
        1.0, ge=0, description="squared difference of encoder features, in the teacher's variances, through adapters"
    )
    scales: list[Annotated[float, Field(ge=0)]] = Field(
        [1.0, 0.0, 0.0], min_length=3, max_length=3, description="of the pixel term: full, half and quarter size"
    )
    gan: float = Field(1e-3, ge=0, description="the critic's score; true frontal faces are real")
    identity: float = Field(0.0, ge=0, description="1 - cosine of identity features with the true frontal face's")
    cross_entropy: float = Field(0.0, ge=0, description="cross-entropy of the bottleneck's guess of the person")


class LearntBalancing(Balancing):
    """The balancer, MetaKD unless another one is named."""

    kind: Kind = Field("metakd", description="fixed: the recipe's weights; the others change them while training")


class MetaKDRecipe(DistillRecipe):
    """Distil a TP-GAN into a thinner one."""

    smoke: ClassVar[dict[str, Any]] = {
        "data": {"limit": 130},
        "evaluation": {"limit": 52},
        "student": {"width": 0.25, "fused": 0.5, "critic_width": 0.07},
    }

    method: Literal["metakd"] = Field(description="distil a TP-GAN, loss weights learnt or fixed")
    data: FaceData
    student: FrontalStudent = FrontalStudent()
    losses: MetaKDLosses = MetaKDLosses()
    balancer: LearntBalancing = LearntBalancing()
    adversary: Adversary = Adversary()
    identity_network: str | None = Field(
        None, min_length=1, description="of the identity terms: folder, run, builtin:NAME, or lightcnn-29v2:PATH"
    )
    evaluation: FaceEvaluation = FaceEvaluation()

    def other_sources(self) -> dict[str, str]:
        own = _named(identity_network=self.identity_network, evaluation_identity=self.evaluation.identity)
        return {**super().other_sources(), **own}

    def balanced(self) -> dict[str, float]:
        return {"pixel": self.losses.pixel, "local": self.losses.local, "feature": self.losses.feature}

    @model_validator(mode="after")
    def _some_term(self) -> MetaKDRecipe:
        n = self.losses
        if not (n.pixel or n.local):
            raise ValueError("losses.pixel and losses.local are 0: nothing says what the frontal face looks like")
        if n.pixel and not any(n.scales):
            raise ValueError("losses.scales are all 0; set losses.pixel=0 instead")
        if not n.pixel and n.scales != MetaKDLosses.model_fields["scales"].default:
            raise ValueError("losses.scales: losses.pixel is 0; leave them out")
        if not ((n.pixel and n.scales[0]) or n.gan or n.identity):
            raise ValueError(
                "losses.pixel at full size, gan and identity are 0: nothing reaches the layers that make the picture"
            )
        self.check_critic_steps(n.gan, self.adversary.every)
        if self.teacher is None and n.feature:
            raise ValueError(
                "teacher is null: then losses.feature must be 0; the other terms take the true frontal face"
            )
        if self.teacher is None and self.like is None:
            raise ValueError("teacher is null: name the generator whose architecture is thinned in `like`")
        if self.teacher is None and self.balancer.kind == "metakd" and self.balancer.meta_target == "teacher":
            raise ValueError("teacher is null: set balancer.meta_target=truth")
        meta = self.balancer.kind == "metakd" and self.balancer.meta_identity
        _check_identity_network(n.identity or meta, self.identity_network)
        return self


def _named(**sources: str | None) -> dict[str, str]:
    """Those that are paths, by their dotted keys."""
    found = {key.replace("evaluation_", "evaluation."): name for key, name in sources.items() if name is not None}
    return {key: name.partition(":")[2] if name.startswith("lightcnn") else name for key, name in found.items()}


def _check_identity_network(used: float, name: str | None) -> None:
    if used and name is None:
        raise ValueError("identity_network is missing: the identity term needs one; name it, or set its weight to 0")
    if not used and name is not None:
        raise ValueError("identity_network: no term uses it; leave it out")
