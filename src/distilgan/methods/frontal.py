"""What training a TP-GAN and distilling one share: two players that look at turned faces and their frontal partners."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from distilgan.data.face_pairs import FaceBatch, FaceFeed, FacePairs
from distilgan.data.images import to_uint8
from distilgan.errors import UserError
from distilgan.losses.adversarial import (
    discriminator_logistic,
    discriminator_wasserstein,
    generator_hinge,
    generator_nonsaturating,
    gradient_penalty,
    r1_penalty,
)
from distilgan.losses.frontal import identity_distance
from distilgan.methods.base import Method, Terms, add_terms
from distilgan.methods.draws import Draws
from distilgan.networks.pretrained import Pretrained
from distilgan.networks.tpgan import PATCHES, TPGAN, TPGANOutput, crop
from distilgan.networks.tpgan_discriminator import (
    TPGANDiscriminator,
    TPGANDiscriminatorConfig,
    discriminator_widths,
)
from distilgan.networks.tpgan_pathways import smaller
from distilgan.perception.identity import IdentityFeatures
from distilgan.recipe import Adversary, Optimiser, Training

Inputs = dict[str, Tensor]
COLUMNS = 13
_NOISE = 0.02  # deviation of the noise beside the bottleneck, as in the paper's code


@dataclass
class View:
    """One share of a step: the pairs, and what was made of them."""

    batch: FaceBatch
    given: Inputs  # what the generator was given besides
    out: TPGANOutput


class FrontalMethod(Method[FaceBatch, TPGAN]):
    """A TP-GAN against its critic; the terms besides `gan` are the subclass's."""

    discriminator: TPGANDiscriminator

    def __init__(
        self, pairs: FacePairs, adversary: Adversary, optimiser: Optimiser, training: Training, generator: TPGAN,
        critic_width: float, identity_network: IdentityFeatures | None,
    ) -> None:  # fmt: skip
        super().__init__(optimiser, training)
        self.pairs, self.adversary, self.generator = pairs, adversary, generator
        widths = discriminator_widths(critic_width)
        self.discriminator = TPGANDiscriminator(TPGANDiscriminatorConfig(generator.config.resolution, widths))
        self.identity_network = identity_network

    @abstractmethod
    def terms(self, view: View, draws: Draws) -> Terms:
        """The generator's raw terms besides `gan`, by name."""

    # -- one step ----------------------------------------------------------------------------------------------------

    def step(self, batches: list[FaceBatch], draws: list[Draws]) -> Terms:
        report: Terms = {}
        uses_critic = bool(self.weights.get("gan"))
        moves = not uses_critic or self.steps % self.adversary.every == self.adversary.every - 1
        given = [self._given(draw) for draw in draws]
        # With accumulation the pictures are made again for the generator's turn, instead of keeping all graphs.
        kept = self._look(batches[0], given[0], graph=moves) if len(batches) == 1 else None
        if uses_critic:
            self._train_critic(batches, given, draws, kept, report)
        if moves:
            self.discriminator.requires_grad_(False)
            self._begin_balance(draws)
            for i, (batch, inputs, draw) in enumerate(zip(batches, given, draws, strict=True)):
                with self._sync("generator", last=i == len(batches) - 1):
                    view = kept or self._look(batch, inputs, graph=True)
                    terms = self.terms(view, draw)
                    if uses_critic:
                        terms = {"gan": self._generator_gan(view.out.image), **terms}
                    self._backward(terms, len(batches))
                add_terms(report, terms, 1 / len(batches))
            self._update_generator(batches, given, draws, report)
        self.steps += 1
        return report

    def _update_generator(
        self, batches: list[FaceBatch], given: list[Inputs], draws: list[Draws], report: Terms
    ) -> None:
        def again() -> list[Terms]:
            views = [self._look(batch, inputs, graph=False) for batch, inputs in zip(batches, given, strict=True)]
            return [self.terms(view, draw) for view, draw in zip(views, draws, strict=True)]

        self._balanced_update(draws, report, again)

    def _look(self, batch: FaceBatch, given: Inputs, graph: bool) -> View:
        with torch.set_grad_enabled(graph), self.engine.autocast():
            out: TPGANOutput = self.played["generator"](batch.profile, batch.landmarks, full=True, **given)
        return View(batch, given, out)

    def _given(self, draws: Draws) -> Inputs:
        """Noise, if the generator takes any, and what the identity head does without."""
        c = self.generator.config
        given: Inputs = {"keep": draws.uniform(c.code)} if c.identities else {}
        return {**given, "z": draws.normal(c.z_dim) * _NOISE} if c.z_dim else given

    # -- the critic --------------------------------------------------------------------------------------------------

    def _train_critic(
        self, batches: list[FaceBatch], given: list[Inputs], draws: list[Draws], kept: View | None, report: Terms
    ) -> None:
        self.discriminator.requires_grad_(True)
        for i, (batch, inputs, draw) in enumerate(zip(batches, given, draws, strict=True)):
            with self._sync("discriminator", last=i == len(batches) - 1):
                fake = (kept or self._look(batch, inputs, graph=False)).out.image.detach()
                loss, terms = self._critic_loss(batch.frontal, fake, draw)
                self.engine.backward(loss / len(batches))
            add_terms(report, {**terms, "discriminator": loss}, 1 / len(batches))
        self._update("discriminator", report)

    def _critic_loss(self, real: Tensor, fake: Tensor, draws: Draws) -> tuple[Tensor, Terms]:
        a, player = self.adversary, self.played["discriminator"]
        wasserstein = a.loss == "wgan"
        lazy = not wasserstein and a.r1_gamma > 0 and self.steps % a.r1_interval == 0
        real = real.detach().requires_grad_(lazy)
        # One forward of the wrapped network: processes exchange the gradients of the last one alone.
        groups = [real, fake.to(real.dtype)]
        if wasserstein:
            share = draws.uniform(1, 1, 1)
            groups.append((share * groups[1] + (1 - share) * real).detach().requires_grad_(True))
        with self.engine.autocast():
            scores = player(torch.cat(groups)).float().chunk(len(groups))
        terms = {"score_real": scores[0].mean(), "score_fake": scores[1].mean()}
        if wasserstein:
            penalty = gradient_penalty(scores[2], groups[2])
            loss = discriminator_wasserstein(scores[0], scores[1]) + a.penalty * penalty
            return loss, {**terms, "gradient_penalty": penalty}
        loss = discriminator_logistic(scores[0], scores[1], a.real)
        if lazy:
            r1 = r1_penalty(scores[0].flatten(1).mean(1), real)  # of a picture's score, not of the sum over its map
            loss, terms = loss + r1 * (a.r1_gamma / 2 * a.r1_interval), {**terms, "r1": r1}
        return loss, terms

    def _generator_gan(self, fake: Tensor) -> Tensor:
        with self.engine.autocast():
            scores: Tensor = self.discriminator(fake)
        return generator_hinge(scores) if self.adversary.loss == "wgan" else generator_nonsaturating(scores)

    # -- what pictures are compared with -------------------------------------------------------------------------------

    def identity_term(self, made: Tensor, truth: Tensor) -> Tensor:
        """1 - cosine of what the identity network sees in both."""
        assert self.identity_network is not None
        with self.engine.autocast():
            features = self.identity_network(made.float())
            with torch.no_grad():
                target = self.identity_network(truth)
        return identity_distance(features, target)

    # -- what the loop asks --------------------------------------------------------------------------------------------

    def lessons(self) -> FaceFeed:
        return FaceFeed(self.pairs)

    def frozen(self) -> list[nn.Module]:
        return [] if self.identity_network is None else [self.identity_network]

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "identity_sha256": self._identity_sha256}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["identity_sha256"] != self._identity_sha256:
            raise UserError("identity_network: its weights changed since this run began; start over with --fresh")
        super().load_state_dict(state)

    @property
    def _identity_sha256(self) -> str | None:
        return None if self.identity_network is None else self.identity_network.weights

    def references(self, batch: FaceBatch) -> list[Tensor]:
        """More rows of the sample grid: the teacher's pictures."""
        return []

    @torch.no_grad()
    def sample_rows(self, average: TPGAN, seed: int) -> list[Tensor]:
        """profile | true frontal face | teacher's | student's, of one person from every side."""
        person = int(self.pairs.identity[seed % len(self.pairs)])
        mine = (self.pairs.identity == person).nonzero().flatten().tolist()
        chosen = sorted(mine[:COLUMNS], key=lambda i: float(self.pairs.yaw[i]))
        batch = self.pairs.batch(chosen).to(next(average.parameters()).device)
        rows = [batch.profile, batch.frontal, *self.references(batch), average(batch.profile, batch.landmarks)]
        return [to_uint8(row).cpu() for row in rows]

    def finished(self, average: TPGAN) -> tuple[TPGAN, Pretrained | None]:
        """Without the head that guesses the person: it is there to be learnt with."""
        bare = TPGAN(replace(average.config, identities=0))
        bare.load_state_dict({k: v for k, v in average.state_dict().items() if not k.startswith("identity.")})
        return bare.to(next(average.parameters()).device).eval(), self.discriminator if self.weights.get(
            "gan"
        ) else None


def sizes_of(image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A picture at full, half and quarter size."""
    return image, smaller(image, 2), smaller(image, 4)


def patches_of(image: Tensor, landmarks: Tensor) -> dict[str, Tensor]:
    """What each local pathway should make: the patches around a frontal face's features."""
    return {name: crop(image, landmarks, name) for name in PATCHES}
