"""Gradients of several losses, one by one, and how they lie to each other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Gradients = list[Tensor]


def gradients(loss: Tensor, parameters: Sequence[Tensor]) -> list[Tensor | None]:
    """∇ loss, None where it does not reach; the graph is kept."""
    return list(torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True))


def filled(found: Sequence[Tensor | None], parameters: Sequence[Tensor]) -> Gradients:
    """The same with zeros for None."""
    return [torch.zeros_like(p) if g is None else g for g, p in zip(found, parameters, strict=True)]


def adam_scaling(optimiser: torch.optim.Optimizer, parameters: Sequence[Tensor]) -> Gradients:
    """P = 1 / (√v̂ + ε) of each number, as Adam scaled its last step; 0 of one that has had no gradient and does not move."""
    group = optimiser.param_groups[0]
    _, beta2 = group["betas"]
    steps = next((float(s["step"]) for s in optimiser.state.values() if "step" in s), 0.0)  # all parameters' alike
    scales = []
    for p in parameters:
        state = optimiser.state.get(p, {})
        if "exp_avg_sq" not in state:
            scales.append(torch.zeros_like(p))
            continue
        v = state["exp_avg_sq"]
        scales.append((v > 0) / ((v / (1 - beta2**steps)).sqrt() + group["eps"]))
    return scales


def product(first: Gradients, second: Gradients, scaling: Gradients) -> Tensor:
    """<x, P y>, a scalar in the gradients' device and type."""
    return torch.stack([s.sum() for s in torch._foreach_mul(torch._foreach_mul(first, scaling), second)]).sum()


def norm(x: Gradients) -> Tensor:
    length: Tensor = torch.stack(torch._foreach_norm(x)).norm()
    return length


def angles(losses: Sequence[Sequence[Tensor | None]], meta: Gradients, scaling: Gradients, own: bool = False) -> Tensor:
    """h_i = -<u, P g_i> / (‖u‖_P ‖g_i‖_P) for the meta-loss's gradient u, [N] in [-1, 1]; 0 for a gradient that is 0.

    Args:
        losses: gradients g_i, None where a loss does not reach. own: ‖u‖ is that of the layers that loss i reaches; otherwise a
            loss that reaches few of them cannot have a large h.
    """
    whole = product(meta, meta, scaling).sqrt()
    found = []
    for gradient in losses:
        g, u, p = (list(x) for x in zip(*_reached(gradient, meta, scaling), strict=True))
        length = product(u, u, p).sqrt() if own else whole
        found.append(-product(u, g, p) / (length * product(g, g, p).sqrt()).clamp(min=1e-30))
    return torch.stack(found).clamp(-1, 1)


def _reached(gradient: Sequence[Tensor | None], *others: Gradients) -> list[tuple[Tensor, ...]]:
    return [(g, *rest) for g, *rest in zip(gradient, *others, strict=True) if g is not None]
