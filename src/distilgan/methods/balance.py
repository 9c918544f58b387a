"""A balancer inside a training step: what it must be shown, and when."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from distilgan.balancing import DWA, FAMO, Balancer, GradNorm, MetaKD, Seen, Uncertainty, Wants
from distilgan.balancing.probe import Gradients, adam_scaling, angles, gradients, norm
from distilgan.losses.frontal import absolute
from distilgan.methods.draws import Draws
from distilgan.perception.structural import structural_similarity
from distilgan.recipe import Balancing, DistillRecipe

_EPOCHS = 20  # of DWA in a run, if its recipe does not say how long one is


def build_balancer(recipe: DistillRecipe) -> Balancer | None:
    """The balancer of a recipe; None where the weights are fixed."""
    b, t = recipe.balancer, recipe.training
    base = {name: weight for name, weight in recipe.balanced().items() if weight}
    if b.kind == "fixed":
        return None
    if b.kind == "uncertainty":
        return Uncertainty(base, b.rate)
    if b.kind == "dwa":
        return DWA(base, b.interval or max(1, t.images // _EPOCHS), b.temperature)
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
        parameters: the student's, that train. shared: those of them that all balanced losses reach.
        optimiser: the student's. mean: over processes.
    """

    def __init__(
        self, balancer: Balancer, images: int, parameters: Sequence[nn.Parameter], shared: Sequence[nn.Parameter],
        optimiser: torch.optim.Optimizer, mean: Callable[[Tensor], Tensor], lookahead: float = 0.0,
    ) -> None:  # fmt: skip
        self.balancer, self.images, self.lookahead = balancer, images, lookahead
        self.parameters: list[Tensor] = list(parameters)
        self.optimiser, self.mean = optimiser, mean
        wanted = {id(p) for p in shared}
        self._shared = [i for i, p in enumerate(self.parameters) if id(p) in wanted]
        self._wants, self._seen = Wants(), 0
        self._base = torch.tensor(list(balancer.base.values()), dtype=torch.float64)

    def begin(self, step: int, images: int) -> None:
        """A step begins; `images` were seen before it."""
        self._wants, self._seen = self.balancer.wants(step, images), images
        self._losses = torch.zeros_like(self._base)
        self._gradients: list[Gradients] = []
        self._norms: Tensor | None = None
        self._alignment: Tensor | None = None
        self._weights: dict[str, float] | None = None

    def weigh(self, terms: Mapping[str, Tensor], parts: int) -> dict[str, float]:
        """Weights for one of `parts` micro-batches, whose raw terms still have their graph."""
        losses = self._of(terms)
        self._losses += losses / parts
        if self._wants.norms or self._wants.alignment:
            found = [gradients(terms[name] / parts, self.parameters) for name in self.balancer.names]
            if not self._gradients:
                self._gradients = found
            else:
                for kept, more in zip(self._gradients, found, strict=True):
                    torch._foreach_add_(kept, more)
        self._weights = self.balancer.weights(losses)
        return self._weights

    def before_update(self, meta: Callable[[Sequence[Tensor]], Gradients]) -> None:
        """All gradients are there, the student has not moved; `meta` gives the meta-loss's gradient for these parameters."""
        if not self._gradients:
            return
        each = [[self.mean(g) for g in found] for found in self._gradients]
        self._gradients = []
        sizes = [norm([found[i] for i in self._shared]) for found in each]
        self._norms = torch.stack(sizes).double().cpu() * self._base
        if self._wants.alignment:
            scaling = adam_scaling(self.optimiser, self.parameters)
            with self._ahead(each, scaling):
                direction = [self.mean(g) for g in meta(self.parameters)]
            self._alignment = angles(each, direction, scaling).double().cpu()

    def after_update(self, again: Callable[[], Sequence[Mapping[str, Tensor]]]) -> None:
        """The student has moved; `again` gives the same micro-batches' terms as they are now."""
        after = None
        if self._wants.after:
            with torch.no_grad():
                after = torch.stack([self._of(terms) for terms in again()]).mean(0)
        self.balancer.update(
            Seen(self._seen, self._seen / self.images, self._losses, self._norms, self._alignment, after)
        )

    def report(self) -> dict[str, Any]:
        """Factors and what moved them, a number for each loss; for the log."""
        named = {"factor": self.balancer.factors.tolist(), **self.balancer.signals()}
        return {key: dict(zip(self.balancer.names, values, strict=True)) for key, values in named.items()}

    def _of(self, terms: Mapping[str, Tensor]) -> Tensor:
        """b_i L_i over all processes, float64 on the CPU."""
        raw = torch.stack([terms[name].detach().float() for name in self.balancer.names])
        return self.mean(raw).double().cpu() * self._base

    @contextmanager
    def _ahead(self, each: list[Gradients], scaling: Gradients) -> Iterator[None]:
        """The student moved by a share of its next step along the balanced losses' gradients, and back."""
        if not self.lookahead:
            yield
            return
        assert self._weights is not None
        kept = [p.detach().clone() for p in self.parameters]
        rate = self.optimiser.param_groups[0]["lr"] * self.lookahead
        with torch.no_grad():
            for weight, found in zip(self._weights.values(), each, strict=True):
                torch._foreach_sub_(self.parameters, torch._foreach_mul(found, scaling), alpha=rate * weight)
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(self.parameters, kept)


def meta_count(b: Balancing, draws: Draws) -> int:
    """Samples of this share that the meta-loss is taken on: those numbered below the meta batch's size in the whole batch."""
    return max(1, draws.count_below(math.ceil(b.meta_share * draws.batch)))


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
