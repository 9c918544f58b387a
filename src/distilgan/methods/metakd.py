"""MetaKD: distilling a TP-GAN into a thinner one, the weights of the three distillation terms learnt on the way.

Teacher T and student S see the same turned face x (and noise); y is the true frontal face. The student minimises

    λ₁ L_pixel + λ₂ L_local + λ₃ L_feature + w_gan L_gan + w_ip L_identity + w_ce L_CE,
    L_pixel = E |S(x) - T(x)|,   L_local = mean over the four patches of E |S_k(x) - T_k(x)|,
    L_feature = mean over the encoders' taps of E (A_l f_l(S) - f_l(T))² / Var f_l(T),

A_l trainable 1x1 convolutions where the widths differ, the variance that over 256 training pairs. λ = a b: the recipe's weights b
times the balancer's factors a (see `balancing.metakd`; with balancer.kind=fixed this is conventional distillation). The other
terms are not balanced: a critic's score and an identity distance say nothing of how much of the teacher has been learnt. The
meta-loss is taken on people held out of the student's training set:

    M = m₁ E |S(x) - t| + m₂ (1 - SSIM(S(x), t)) + m₃ (1 - cos(f(S(x)), f(t))),   t = T(x) or y.

Without a teacher y takes the place of T(x): the student's architecture, trained on the truth alone.

Source: the MetaKD report (three losses, a meta-learner that sees normalised losses and gradient norms); what it leaves open is
measured in `docs/metakd.md`. In the public code that precedes it the local term is the left eye alone, the features' targets pass
frozen random convolutions, and the meta-learner's optimiser never steps.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distilgan.data.face_pairs import FaceBatch, FacePairs
from distilgan.errors import UserError, named
from distilgan.losses.frontal import absolute, identity_distance, normalised_features, patches
from distilgan.methods.balance import meta_count, meta_distance
from distilgan.methods.base import Terms
from distilgan.methods.draws import Draws
from distilgan.methods.frontal import FrontalMethod, Inputs, View, patches_of, sizes_of
from distilgan.networks.pretrained import network_sha256
from distilgan.networks.tpgan import PATCHES, TPGAN, TPGANConfig, TPGANOutput, narrowed
from distilgan.perception.identity import IdentityFeatures
from distilgan.recipe import FrontalStudent, MetaKDRecipe
from distilgan.runs import load_model

_VARIANCE_PAIRS = 256


class Adapters(nn.Module):
    """1x1 convolutions from the student's features to the teacher's widths, none where they agree."""

    def __init__(self, student: TPGANConfig, teacher: TPGANConfig) -> None:
        super().__init__()
        widths = {tap: (a, b) for (tap, a), b in zip(taps(student).items(), taps(teacher).values(), strict=True)}
        self.layers = nn.ModuleDict(
            {tap.replace(".", "_"): nn.Conv2d(a, b, 1) for tap, (a, b) in widths.items() if a != b}
        )

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        own = self.layers
        return {tap: own[key](f) if (key := tap.replace(".", "_")) in own else f for tap, f in features.items()}


class MetaKDDistillation(FrontalMethod):
    """Teacher beside student; three balanced terms."""

    def __init__(
        self, recipe: MetaKDRecipe, pairs: FacePairs, identity_network: IdentityFeatures | None = None
    ) -> None:
        key, name = ("teacher", recipe.teacher) if recipe.teacher else ("like", str(recipe.like))
        with named(key, name):
            like = load_model(name, TPGAN).requires_grad_(False)
        self.teacher = like if recipe.teacher else None
        self.taught_by = (recipe.teacher, network_sha256(like)) if recipe.teacher else None
        if like.config.resolution != recipe.data.resolution:
            raise UserError(
                f"data.resolution={recipe.data.resolution}: the teacher's faces are {like.config.resolution} px wide; set "
                f"data.resolution={like.config.resolution}"
            )
        n, balancer = recipe.losses, recipe.balancer
        self.meta_pairs: FacePairs | None = None
        if balancer.share_held_out:
            pairs, self.meta_pairs = pairs.hold_out(balancer.share_held_out, recipe.seed)
        people = len(pairs.identities) if n.cross_entropy else 0
        student = TPGAN(student_config(like.config, recipe.student, people))
        super().__init__(
            pairs, recipe.adversary, recipe.optimiser, recipe.training, student, recipe.student.critic_width,
            identity_network,
        )  # fmt: skip
        self.scales = n.scales
        self.variances: dict[str, float] | None = None
        self.adapters = Adapters(student.config, like.config) if n.feature else None
        others = {"gan": n.gan, "identity": n.identity, "cross_entropy": n.cross_entropy}
        self.weights = {name: weight for name, weight in {**recipe.balanced(), **others}.items() if weight}
        self.balance_by(recipe)

    # -- the objective -------------------------------------------------------------------------------------------------

    def terms(self, view: View, draws: Draws) -> Terms:
        weights, out, batch = self.weights, view.out, view.batch
        taught = self.once_a_step(draws, lambda: self._taught(view))
        terms: Terms = {}
        if "pixel" in weights:
            wanted = (taught.image, taught.half, taught.quarter) if taught else sizes_of(batch.frontal)
            sizes = zip(self.scales, (out.image, out.half, out.quarter), wanted, strict=True)
            terms["pixel"] = torch.stack([s * absolute(made, target) for s, made, target in sizes if s]).sum()
        if "local" in weights:
            target = taught.patches if taught else patches_of(batch.frontal, batch.frontal_landmarks)
            terms["local"] = patches(out.patches, target)
        if taught and self.adapters is not None:
            with self.engine.autocast():
                adapted = self.played["adapters"](out.features) if self._trains_adapters else out.features
            terms["feature"] = normalised_features(adapted, taught.features, self._variances())
        if "identity" in weights:
            terms["identity"] = self.identity_term(out.image, batch.frontal)
        if out.identity is not None and "cross_entropy" in weights:
            terms["cross_entropy"] = F.cross_entropy(out.identity.float(), batch.identity)
        return terms

    def meta_loss(self, draws: Draws) -> Tensor:
        """M on a batch of people that the student is not trained on."""
        assert self.meta_pairs is not None
        b, device = self.balancing, next(self.generator.parameters()).device
        chosen = draws.integers(len(self.meta_pairs))[: meta_count(b, draws)]
        batch = self.meta_pairs.batch(chosen.tolist()).to(device)
        with self.engine.autocast():
            made: Tensor = self.generator(batch.profile, batch.landmarks)
            target = batch.frontal
            if b.meta_target == "teacher" and self.teacher is not None:
                with torch.no_grad():
                    target = self.teacher(batch.profile, batch.landmarks).float()
        loss = meta_distance(b, made, target)
        if b.meta_identity and self.identity_network is not None:
            with self.engine.autocast():
                seen = self.identity_network(made.float()), self.identity_network(target)
            loss = loss + b.meta_identity * identity_distance(*seen)
        return loss

    @torch.no_grad()
    def _variances(self) -> dict[str, float]:
        """Of the teacher's features, over some training pairs: of the batch alone they would depend on how it is dealt out."""
        if self.variances is None:
            assert self.teacher is not None
            device = next(self.generator.parameters()).device
            rows = torch.linspace(0, len(self.pairs) - 1, min(len(self.pairs), _VARIANCE_PAIRS)).long()
            found: dict[str, list[Tensor]] = {}
            for part in torch.split(rows, 32):
                batch = self.pairs.batch(part.tolist()).to(device)
                taught: TPGANOutput = self.teacher(batch.profile, batch.landmarks, full=True)
                for tap, feature in taught.features.items():
                    # Mean and mean square of each picture: their means over pictures are those of all numbers.
                    moments = torch.stack([feature.double().mean((1, 2, 3)), feature.double().square().mean((1, 2, 3))])
                    found.setdefault(tap, []).append(moments)
            means = {tap: torch.cat(moments, 1).mean(1) for tap, moments in found.items()}
            self.variances = {tap: float(m[1] - m[0] ** 2) for tap, m in means.items()}
        return self.variances

    def _taught(self, view: View) -> TPGANOutput | None:
        if self.teacher is None:
            return None
        with torch.no_grad(), self.engine.autocast():
            taught: TPGANOutput = self.teacher(view.batch.profile, view.batch.landmarks, view.given.get("z"), full=True)
        return taught

    # -- one step ------------------------------------------------------------------------------------------------------

    def _update_generator(
        self, batches: list[FaceBatch], given: list[Inputs], draws: list[Draws], report: Terms
    ) -> None:
        if self._trains_adapters:  # first, so that a balancer that looks at the losses again sees all of the step
            self._update("adapters", report)
        super()._update_generator(batches, given, draws, report)

    @property
    def _trains_adapters(self) -> bool:
        return self.adapters is not None and len(self.adapters.layers) > 0

    def _sync(self, name: str, last: bool) -> AbstractContextManager[Any]:
        stack = ExitStack()
        stack.enter_context(super()._sync(name, last))
        if name == "generator" and self._trains_adapters:
            stack.enter_context(super()._sync("adapters", last))
        return stack

    # -- what the loop asks --------------------------------------------------------------------------------------------

    def trainable(self) -> dict[str, nn.Module]:
        players = super().trainable()
        return {**players, "adapters": self.adapters} if self.adapters and self._trains_adapters else players

    def frozen(self) -> list[nn.Module]:
        return [*super().frozen(), *([self.teacher] if self.teacher is not None else [])]

    def references(self, batch: FaceBatch) -> list[Tensor]:
        return [] if self.teacher is None else [self.teacher(batch.profile, batch.landmarks)]


def taps(config: TPGANConfig) -> dict[str, int]:
    """Names and widths of the features that are compared: conv1 to conv4 of the global encoder, conv1 to conv3 of local ones."""
    found = {f"global.conv{i}": config.encoder[i] for i in (1, 2, 3, 4)}
    return found | {f"{name}.conv{i}": config.local_encoder[i] for name in PATCHES for i in (1, 2, 3)}


def student_config(teacher: TPGANConfig, student: FrontalStudent, identities: int) -> TPGANConfig:
    """The teacher's widths times the student's shares, rounded down to at least 1."""
    fused = max(1, int(teacher.fused * student.fused))
    return replace(narrowed(teacher, student.width, student.local_width), fused=fused, identities=identities)
