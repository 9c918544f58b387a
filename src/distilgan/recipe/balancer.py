"""How several losses become one: the section that every distillation recipe has."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from distilgan.recipe.section import Section

Kind = Literal["fixed", "uncertainty", "dwa", "gradnorm", "famo", "metakd"]
# What --smoke changes in a section of each kind, so that its weights move in a few steps.
SMOKE_BALANCER: dict[str, dict[str, int]] = {"metakd": {"every": 2, "warmup": 0}, "dwa": {"interval": 16}}
_EPOCHS = 20  # of DWA in a run, if its recipe does not say how long one is
_METAKD = frozenset({
    "signals", "reach", "floor", "entropy", "smoothing", "lookahead", "meta_share", "meta_target", "meta_pixel", "meta_structure",
    "meta_identity",
})  # fmt: skip
_USED_BY: dict[str, frozenset[str]] = {
    "fixed": frozenset(),
    "uncertainty": frozenset({"lr"}),
    "dwa": frozenset({"interval", "temperature"}),
    "gradnorm": frozenset({"lr", "alpha", "every"}),
    "famo": frozenset({"lr", "decay"}),
    "metakd": frozenset({"lr", "every", "warmup"}) | _METAKD,
}


class Balancing(Section):
    """The weights of the terms that compare student and teacher: the recipe's own times a factor that may learn."""

    kind: Kind = Field("fixed", description="fixed: the recipe's weights; the others change them while training")
    lr: float | None = Field(
        None,
        gt=0,
        description="learning rate of the factors; null: 0.005 for metakd, 0.025 for uncertainty, gradnorm and famo",
    )
    every: int = Field(10, ge=1, description="gradnorm, metakd: gradients are looked at every so many steps")
    warmup: int = Field(0, ge=0, description="metakd: images before the factors move")
    interval: int | None = Field(None, ge=1, description="dwa: images in an epoch; null: a twentieth of the run")
    temperature: float = Field(2.0, gt=0, description="dwa: of the softmax over loss ratios")
    alpha: float = Field(
        1.5, ge=0, description="gradnorm: α, how strongly losses that fall slowly are given longer gradients"
    )
    decay: float = Field(1e-3, ge=0, description="famo: decay of the factors' logits")
    signals: Literal["both", "loss", "gradient", "none", "shuffled"] = Field(
        "both", description="metakd: what the meta-learner sees; shuffled: all that, dealt out at random, a control"
    )
    floor: float = Field(0.15, ge=0, le=1, description="metakd: share of the weight that is dealt out evenly; 1: fixed")
    entropy: float = Field(0.1, ge=0, description="metakd: weight of the pull towards equal factors")
    smoothing: float = Field(0.7, ge=0, lt=1, description="metakd: share of the old factors that stays at an update")
    lookahead: float = Field(
        1.0, ge=0, le=1, description="metakd: share of the student's step that is taken before the meta-loss is read"
    )
    held_out: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="faces: share of people not trained on, for metakd's meta-loss; null: 0.1 for metakd, 0 for others",
    )
    reach: Literal["all", "shared"] = Field(
        "all", description="metakd: a loss's angle to the meta-loss is over all layers, or those that two losses reach"
    )
    meta_share: float = Field(0.5, gt=0, le=1, description="metakd: size of the meta batch, in batches")
    meta_target: Literal["teacher", "truth"] = Field(
        "teacher", description="metakd of faces: what the meta-loss compares the student with"
    )
    meta_pixel: float = Field(1.0, ge=0, description="metakd: weight of the mean absolute difference in the meta-loss")
    meta_structure: float = Field(1.0, ge=0, description="metakd: and of 1 - SSIM")
    meta_identity: float = Field(0.0, ge=0, description="metakd of faces: and of 1 - the cosine of identity features")

    @model_validator(mode="after")
    def _used(self) -> Balancing:
        """An option that would change nothing is a mistake."""
        for key in self.model_fields_set - {"kind", "held_out"} - _USED_BY[self.kind]:
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"balancer.{key}: kind={self.kind} does not use it; leave it out")
        if self.kind == "metakd" and self.held_out == 0:
            raise ValueError("balancer.held_out is 0: metakd's meta-loss needs people that are not trained on")
        if self.kind == "metakd" and not (self.meta_pixel or self.meta_structure or self.meta_identity):
            raise ValueError("balancer.meta_pixel, meta_structure and meta_identity are 0: there is no meta-loss")
        return self

    def check_without_people(self, teacher: str | None) -> None:
        """Raise ValueError when a student of a generator of pictures from latents cannot be balanced so."""
        if self.kind != "fixed" and teacher is None:
            raise ValueError(
                f"balancer.kind={self.kind}: weighs what compares student and teacher; there is no teacher"
            )
        for key in ("held_out", "meta_target", "meta_identity"):
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"balancer.{key}: is for faces; the meta-loss compares pictures of new latents")

    def check_length(self, images: int, batch: int) -> None:
        """Raise ValueError when a run is over before the factors first move."""
        steps = -(-images // batch)
        last = (steps // self.every * self.every - 1) * batch  # images before the last step that metakd looks at
        if self.kind == "metakd" and last < self.warmup:
            raise ValueError(
                f"balancer.every={self.every}, balancer.warmup={self.warmup}: the run has {steps} steps, {images} images, so the "
                "weights would never move; lower them or lengthen the run"
            )
        if self.kind == "dwa" and (steps - 1) * batch < 2 * self.epoch(images):
            raise ValueError(
                f"balancer.interval={self.epoch(images)}: the weights move after two of them, and the run has {images} images; "
                "lower it or lengthen the run"
            )

    def epoch(self, images: int) -> int:
        """Images in an epoch of DWA in a run of `images`."""
        return self.interval or max(1, images // _EPOCHS)

    @property
    def share_held_out(self) -> float:
        """Share of the people that are not trained on."""
        return self.held_out if self.held_out is not None else 0.1 * (self.kind == "metakd")

    @property
    def rate(self) -> float:
        """The learning rate of the factors."""
        return self.lr or (0.005 if self.kind == "metakd" else 0.025)
