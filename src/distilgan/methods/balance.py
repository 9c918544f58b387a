"""A balancer inside a training step: what it must be shown, and when."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from distilgan.balancing import DWA, FAMO, Balancer, GradNorm, MetaKD, Seen, Uncertainty, Wants
from distilgan.balancing.probe import adam_scaling, angles, gradient
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
        self._reached_by: list[int] | None = None  # how many losses reach each parameter, once they were looked at
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
        self._gradients: Tensor | None = None  # [N, P]
        self._looked_at = self.parameters
        if self._reached_by is not None and not self._wants.alignment:
            self._looked_at = [
                p for p, kept in zip(self.parameters, self._reached(len(self._base)), strict=True) if kept
            ]
        self._before: list[Tensor] = []

    def weigh(self, terms: Mapping[str, Tensor], parts: int) -> dict[str, float]:
        """Weights for one of `parts` micro-batches, whose raw terms still have their graph."""
        losses = self._of(terms)
        self._losses += losses / parts
        if self._wants.norms or self._wants.alignment:
            found = [gradient(terms[name] / parts, self._looked_at) for name in self.balancer.names]
            each = torch.stack([vector for vector, _ in found])
            self._gradients = each if self._gradients is None else self._gradients + each
            if self._reached_by is None:
                self._reached_by = [sum(flags) for flags in zip(*(reached for _, reached in found), strict=True)]
        return self.balancer.weights(losses)

    def before_update(self) -> None:
        """All gradients are there, the student has not moved."""
        if self._wants.alignment and self.section.lookahead < 1:
            self._before = [p.detach().clone() for p in self.parameters]

    def after_update(
        self, meta: Callable[[Sequence[Tensor]], Tensor], again: Callable[[], Sequence[Mapping[str, Tensor]]]
    ) -> None:
        """The student has moved.

        `meta` gives the meta-loss's gradient for these parameters, `again` the same micro-batches' terms as they are now.
        """
        norms = alignment = after = None
        if self._gradients is not None:
            each, self._gradients = self.mean(self._gradients), None  # one message for all of them
            norms = self._on(each, len(self._base)).norm(dim=1).double().cpu() * self._base
            if self._wants.alignment:
                with self._part_of_the_way():
                    direction = self.mean(meta(self.parameters))
                vectors = [each, direction, adam_scaling(self.optimiser, self.parameters)]
                if self.section.reach == "shared":
                    vectors = [self._on(x, 2) for x in vectors]
                alignment = angles(*vectors).double().cpu()
        if self._wants.after:
            with torch.no_grad():
                after = torch.stack([self._of(terms) for terms in again()]).mean(0)
        self.balancer.update(Seen(self._seen, self._seen / self.images, self._losses, norms, alignment, after))

    def report(self) -> dict[str, Any]:
        """Factors and what moved them, a number for each loss; for the log."""
        named = {"factor": self.balancer.factors.tolist(), **self.balancer.signals()}
        return {key: dict(zip(self.balancer.names, values, strict=True)) for key, values in named.items()}

    def _of(self, terms: Mapping[str, Tensor]) -> Tensor:
        """b_i L_i over all processes, float64 on the CPU."""
        raw = torch.stack([terms[name].detach().float() for name in self.balancer.names])
        return self.mean(raw).double().cpu() * self._base

    def _reached(self, losses: int) -> list[bool]:
        """The parameters that so many losses reach or more; all, if there is no such parameter."""
        assert self._reached_by is not None
        kept = [n >= losses for n in self._reached_by]
        return kept if any(kept) else [True] * len(kept)

    def _on(self, vectors: Tensor, losses: int) -> Tensor:
        """Of vectors [..., P] over what was looked at, the numbers of parameters that so many losses reach."""
        kept = [True] * len(self._looked_at) if self._looked_at is not self.parameters else self._reached(losses)
        if all(kept):
            return vectors
        sizes = torch.tensor([p.numel() for p in self.parameters])
        return vectors[..., torch.tensor(kept).repeat_interleave(sizes).to(vectors.device)]

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
