"""What every method with a StyleGAN2-type generator shares: two players, one step.

A step is: generate; update the discriminator (logistic loss, lazy R1); update the generator (the method's terms, lazy
path-length regularisation). Sources: Goodfellow et al. 2014; Mescheder et al. 2018; Karras et al. 2020, appendix B.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from distilgan.data.feed import Batch
from distilgan.errors import UserError
from distilgan.losses.adversarial import discriminator_logistic, generator_nonsaturating, path_lengths, r1_penalty
from distilgan.methods.base import Engine, Terms, add_terms
from distilgan.methods.draws import Draws
from distilgan.methods.latent import LatentMethod
from distilgan.networks.augment import DRAWS, diffaugment
from distilgan.networks.layers import deviation_group
from distilgan.networks.stylegan2 import GeneratorOutput, StyleGAN2
from distilgan.networks.stylegan2_discriminator import Discriminator
from distilgan.recipe import Optimiser, Regularisation, StyleTraining


@dataclass
class Views:
    """One generated batch and what is needed to judge it."""

    image: Tensor  # [N, 3, R, R]
    w: Tensor  # [N, num_ws, w_dim]
    features: dict[str, Tensor]
    inputs: dict[str, Any]  # what the generator was called with


class AdversarialMethod(LatentMethod):
    """Two StyleGAN2 players; the generator's terms besides `gan` are the subclass's."""

    generator: StyleGAN2
    discriminator: Discriminator

    def __init__(self, regularisation: Regularisation, optimiser: Optimiser, training: StyleTraining) -> None:
        super().__init__(optimiser, training)
        self.regularisation, self.style_mixing = regularisation, training.style_mixing
        self.path_mean = torch.zeros([])

    # -- what a method says ------------------------------------------------------------------------------------------

    @abstractmethod
    def inputs(self, draws: Draws) -> dict[str, Any]:
        """Arguments of the generator for one share of a batch."""

    @abstractmethod
    def terms(self, views: Views, draws: Draws) -> Terms:
        """The generator's raw terms besides `gan`, by name."""

    def grid_inputs(self, n: int, generator: torch.Generator) -> dict[str, Any]:
        return {**super().grid_inputs(n, generator), "noise": self.generator.sample_noise(n, generator)}

    def check_share(self, samples: int) -> None:
        """Raise UserError when a step cannot be made of shares of `samples` samples."""
        group = deviation_group(self.training.batch, self.discriminator.config.mbstd_group)
        if samples % group:
            raise UserError(
                f"training.batch={self.training.batch}: the {samples} samples that a process holds at once must be a multiple "
                f"of {group}, the group of the discriminator's minibatch deviation; enlarge the batch or training.micro_batch"
            )

    def prepare(
        self, played: dict[str, nn.Module], optimisers: dict[str, torch.optim.Optimizer], engine: Engine
    ) -> None:
        super().prepare(played, optimisers, engine)
        self.path_mean = self.path_mean.to(next(self.generator.parameters()).device)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "path_mean": self.path_mean}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.path_mean = state["path_mean"].to(self.path_mean.device)

    def step(self, batches: list[Batch], draws: list[Draws]) -> Terms:
        report: Terms = {}
        reals = [batch.images for batch in batches]
        inputs = [self.inputs(d) for d in draws]
        # With accumulation the pictures are made again for the generator's turn, instead of keeping all graphs.
        kept = self._generate(inputs[0]) if len(inputs) == 1 else None
        if "gan" in self.weights:
            self._train_discriminator(reals, inputs, draws, kept, report)

        self.discriminator.requires_grad_(False)
        self._begin_balance(draws)
        averages = []
        for i, (given, draw) in enumerate(zip(inputs, draws, strict=True)):
            with self._sync("generator", last=i == len(inputs) - 1):
                views = kept if kept is not None else self._generate(given)
                terms = self.terms(views, draw)
                if "gan" in self.weights:
                    terms = {"gan": self._generator_gan(views.image, draw), **terms}
                self._backward(terms, len(inputs))
            averages.append(views.w[: draw.count].detach()[:, 0].float().mean(0))
            add_terms(report, terms, 1 / len(inputs))
        del kept, views
        self._track_average(torch.stack(averages).mean(0))
        if self.regularisation.path_length and self.steps % self.regularisation.path_length_interval == 0:
            self._regularise_paths(draws, report)
        self._balanced_update(
            draws, report, lambda: [self._terms_now(g, d) for g, d in zip(inputs, draws, strict=True)]
        )
        self.steps += 1
        return report

    # -- the parts of a step -----------------------------------------------------------------------------------------

    def _train_discriminator(
        self, reals: list[Tensor], inputs: list[dict[str, Any]], draws: list[Draws], kept: Views | None, report: Terms
    ) -> None:
        self.discriminator.requires_grad_(True)
        lazy = self.regularisation.r1_gamma > 0 and self.steps % self.regularisation.r1_interval == 0
        for i, (real, given, draw) in enumerate(zip(reals, inputs, draws, strict=True)):
            with self._sync("discriminator", last=i == len(reals) - 1):
                if kept is not None:
                    fake = kept.image.detach()
                else:
                    with torch.no_grad():
                        fake = self._generate(given).image
                loss, terms = self._discriminator_loss(real, fake, draw, lazy)
                self.engine.backward(loss / len(reals))
            add_terms(report, terms, 1 / len(reals))
        self._update("discriminator", report)

    def _terms_now(self, given: dict[str, Any], draws: Draws) -> Terms:
        return self.terms(self._generate(given), draws)

    def _generate(self, given: dict[str, Any]) -> Views:
        with self.engine.autocast():
            out: GeneratorOutput = self.played["generator"](**given, full=True)
        return Views(out.image, out.w, out.features, given)

    def _judge(self, player: nn.Module, images: Tensor, draws: Draws) -> Tensor:
        kinds = self.regularisation.diffaugment
        if kinds:
            images = diffaugment(images, kinds, draws.uniform(DRAWS))
        with self.engine.autocast():
            scores: Tensor = player(images)
        return scores

    def _discriminator_loss(self, real: Tensor, fake: Tensor, draws: Draws, lazy: bool) -> tuple[Tensor, Terms]:
        player = self.played["discriminator"]
        real = real.detach().requires_grad_(lazy)
        fake_scores = self._judge(player, fake[: draws.count], draws)
        real_scores = self._judge(player, real, draws)
        loss = discriminator_logistic(real_scores, fake_scores)
        terms = {
            "discriminator": loss.detach(),
            "score_real": real_scores.detach().mean(),
            "score_fake": fake_scores.detach().mean(),
        }
        if lazy:
            r1 = r1_penalty(real_scores, real)
            loss = loss + r1 * (self.regularisation.r1_gamma / 2 * self.regularisation.r1_interval)
            terms["r1"] = r1.detach()
        return loss, terms

    def _generator_gan(self, fake: Tensor, draws: Draws) -> Tensor:
        return generator_nonsaturating(self._judge(self.discriminator, fake[: draws.count], draws))

    def _regularise_paths(self, draws: list[Draws], report: Terms) -> None:
        """weight · interval · E (|Jᵀy| - a)², a the running mean; on half of the batch (Karras et al. 2020, section 3.2).

        The sample's number in the whole batch says whether it is in the half, and a is moved once a step: neither the
        number of processes nor accumulation changes the result.
        """
        r, c = self.regularisation, self.generator.config
        half = max(1, draws[0].batch // 2)
        weight = r.path_length * r.path_length_interval if self.steps else 0.0  # at first there is no mean yet
        lengths_seen = torch.zeros_like(self.path_mean)
        for i, draw in enumerate(draws):
            with self._sync("generator", last=i == len(draws) - 1):
                given = {k: v for k, v in self.inputs(draw).items() if k not in ("offset", "taps")}
                y = draw.normal(*self.generator.image_shape)
                own = draw.count_below(half)
                first = max(1, own)  # a share without any takes part with weight 0, as other processes wait for it
                given = {k: first_samples(v, first) for k, v in given.items()}
                # Added to w, so that w has a gradient also where the mapping network does not train.
                given["offset"] = torch.zeros(first, c.num_ws, c.w_dim, device=y.device, requires_grad=True)
                views = self._generate(given)
                lengths = path_lengths(views.image, views.w, y[:first])[:own]
                share = draw.parts / (len(draws) * half)  # gradients are averaged over processes
                penalty = (lengths - self.path_mean).square().sum() * share
                # The zero keeps every parameter in the graph: processes wait for the gradient of each.
                self.engine.backward(penalty * weight + 0 * views.image.sum())
            lengths_seen += lengths.detach().sum() * share
            add_terms(report, {"path_length": penalty.detach()}, 1)
        # At first the plain mean: the official start at 0 would hold the target too low for as long as a short run lasts.
        share = max(r.path_length_decay, 1 / (self.steps // r.path_length_interval + 1))
        self.path_mean = self.path_mean.lerp(self.engine.mean_over_processes(lengths_seen), share)

    def _track_average(self, w: Tensor) -> None:
        """The running mean of w [w_dim] that truncation draws to; decay 0.998 a step as in the official code.

        Over the first 500 steps it is their plain mean: short runs have no more, and the official start at 0 lasts.
        """
        self.generator.mapping.w_avg.lerp_(self.engine.mean_over_processes(w), max(0.002, 1 / (self.steps + 1)))


def first_samples(value: Any, n: int) -> Any:
    """The first `n` samples of a tensor, or of those in a list or tuple."""
    if isinstance(value, Tensor):
        return value[:n]
    if isinstance(value, list):
        return [first_samples(v, n) for v in value]
    if isinstance(value, tuple):
        return tuple(first_samples(v, n) for v in value)
    return value
