"""A balancer inside a training step: what it must be shown, and when."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from distilgan.balancing import DWA, FAMO, Balancer, GradNorm, MetaKD, Seen, Uncertainty, Wants
from distilgan.balancing.probe import Gradients, adam_scaling, angles, filled, gradients, norm
from distilgan.losses.frontal import absolute
from distilgan.methods.draws import Draws
from distilgan.perception.structural import structural_similarity
from distilgan.recipe import Balancing, DistillRecipe


def build_balancer(recipe: DistillRecipe) -> Balancer | None:
    """The balancer of a recipe; None where the weights are fixed."""
    b, t = recipe.balancer, recipe.training
    base = {name: weight for name, weight in recipe.balanced().items() if weight}
    if b.kind == "fixed":
        return None
    if b.kind == "uncertainty":
        return Uncertainty(base, b.rate)
    if b.kind == "dwa":
        return DWA(base, b.epoch(t.images), b.temperature)
    if b.kind == "gradnorm":
        return GradNorm(base, b.rate, b.alpha, b.every)
    if b.kind == "famo":
        return FAMO(base, b.rate, b.decay)
    return MetaKD(
        base, b.rate, every=b.every, warmup=b.warmup, floor=b.floor, entropy=b.entropy, smoothing=b.smoothing,
        signals=b.signals, seed=recipe.seed,
    )  # fmt: skip


class Balance:
    """Shows a balancer each step of a student.

    Args:
        images: of the run. parameters: the student's, that train. optimiser: theirs. mean: over processes.
    """

    def __init__(
        self, balancer: Balancer, section: Balancing, images: int, parameters: Sequence[nn.Parameter],
        optimiser: torch.optim.Optimizer, mean: Callable[[Tensor], Tensor],
    ) -> None:  # fmt: skip
        self.balancer, self.section, self.images = balancer, section, images
        self.parameters: list[Tensor] = list(parameters)
        self.optimiser, self.mean = optimiser, mean
        self._shared: list[int] | None = (
            None  # numbers of the parameters that all losses reach, once they were looked at
        )
        self._wants, self._seen = Wants(), 0
        self._base = torch.tensor(list(balancer.base.values()), dtype=torch.float64)

    @property
    def wants(self) -> Wants:
        """What the balancer is to be shown of this step."""
        return self._wants

    def begin(self, images: int) -> None:
        """A step begins; `images` were seen before it."""
        self._wants, self._seen = self.balancer.wants(images), images
        self._losses = torch.zeros_like(self._base)
        self._gradients: list[list[Tensor | None]] = []
        self._before: list[Tensor] = []

    def weigh(self, terms: Mapping[str, Tensor], parts: int) -> dict[str, float]:
        """Weights for one of `parts` micro-batches, whose raw terms still have their graph."""
        losses = self._of(terms)
        self._losses += losses / parts
        if self._wants.norms or self._wants.alignment:
            found = [gradients(terms[name] / parts, self._looked_at()) for name in self.balancer.names]
            kept = self._gradients or [[None] * len(found[0])] * len(found)
            self._gradients = [_sums(old, new) for old, new in zip(kept, found, strict=True)]
        return self.balancer.weights(losses)

    def before_update(self) -> None:
        """All gradients are there, the student has not moved."""
        if self._wants.alignment and self.section.lookahead < 1:
            self._before = [p.detach().clone() for p in self.parameters]

    def after_update(
        self, meta: Callable[[Sequence[Tensor]], Gradients], again: Callable[[], Sequence[Mapping[str, Tensor]]]
    ) -> None:
        """The student has moved.

        `meta` gives the meta-loss's gradient for these parameters, `again` the same micro-batches' terms as they are now.
        """
        norms = alignment = after = None
        if self._gradients:
            each = [self._mean_of(found) for found in self._gradients]
            self._gradients = []
            sizes = [norm([g for g in found if g is not None]) for found in self._on_shared(each)]
            norms = torch.stack(sizes).double().cpu() * self._base
            if self._wants.alignment:
                with self._part_of_the_way():
                    direction = filled(self._mean_of(meta(self.parameters)), self.parameters)
                scaling = adam_scaling(self.optimiser, self.parameters)
                alignment = angles(each, direction, scaling, self.section.reach == "shared").double().cpu()
        if self._wants.after:
            with torch.no_grad():
                after = torch.stack([self._of(terms) for terms in again()]).mean(0)
        self.balancer.update(Seen(self._seen, self._seen / self.images, self._losses, norms, alignment, after))

    def report(self) -> dict[str, Any]:
        """Factors and what moved them, a number for each loss; for the log."""
        named = {"factor": self.balancer.factors.tolist(), **self.balancer.signals()}
        return {key: dict(zip(self.balancer.names, values, strict=True)) for key, values in named.items()}

    def _mean_of(self, found: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Each gradient's mean over processes, all of them in one message."""
        given = [g for g in found if g is not None]
        if not given:
            return list(found)
        flat = self.mean(torch.cat([g.flatten() for g in given]))
        parts = iter(torch.split(flat, [g.numel() for g in given]))
        return [None if g is None else torch.empty_like(g).copy_(next(parts).view_as(g)) for g in found]

    def _of(self, terms: Mapping[str, Tensor]) -> Tensor:
        """b_i L_i over all processes, float64 on the CPU."""
        raw = torch.stack([terms[name].detach().float() for name in self.balancer.names])
        return self.mean(raw).double().cpu() * self._base

    def _looked_at(self) -> list[Tensor]:
        """The parameters whose gradients are taken: all of them until it is known which the losses share."""
        if self._shared is None or self._wants.alignment:
            return self.parameters
        return [self.parameters[i] for i in self._shared]

    def _on_shared(self, each: list[list[Tensor | None]]) -> list[list[Tensor | None]]:
        """Of the gradients those on parameters that all losses reach; all, if there is no such parameter."""
        if self._shared is None:
            common = [all(g is not None for g in of_one) for of_one in zip(*each, strict=True)]
            self._shared = [i for i, reached in enumerate(common) if reached] or list(range(len(common)))
        elif not self._wants.alignment:
            return each  # no others were looked at
        return [[found[i] for i in self._shared] for found in each]

    @contextmanager
    def _part_of_the_way(self) -> Iterator[None]:
        """The student where it was after the recipe's share of the step it has taken, and back."""
        if not self._before:
            yield
            return
        there = [p.detach().clone() for p in self.parameters]
        between = torch._foreach_lerp(self._before, there, self.section.lookahead)
        self._before = []
        with torch.no_grad():
            torch._foreach_copy_(self.parameters, between)
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(self.parameters, there)


def _sums(old: Sequence[Tensor | None], new: Sequence[Tensor | None]) -> list[Tensor | None]:
    return [a if b is None else b if a is None else a + b for a, b in zip(old, new, strict=True)]


def meta_count(b: Balancing, draws: Draws) -> int:
    """Samples of this share that the meta-loss is taken on, as many as of any other share; two at least, for batch statistics."""
    return min(draws.count, max(2, math.ceil(b.meta_share * draws.batch / draws.parts)))


def meta_distance(b: Balancing, made: Tensor, target: Tensor) -> Tensor:
    """m₁ mean |S - T| + m₂ (1 - SSIM(S, T)) of pictures [N, 3, R, R] in [-1, 1]."""
    loss = b.meta_pixel * absolute(made, target)
    if not b.meta_structure:
        return loss
    return loss + b.meta_structure * (1 - structural_similarity(made, target).mean())


@contextmanager
def statistics_kept(network: nn.Module) -> Iterator[None]:
    """Buffers that a forward moves, such as those of batch normalisation, are put back."""
    kept = [b.clone() for b in network.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, old in zip(network.buffers(), kept, strict=True):
                buffer.copy_(old)
