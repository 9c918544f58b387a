"""Gradients of several losses, one by one, and how they lie to each other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Gradients = list[Tensor]


def gradients(loss: Tensor, parameters: Sequence[Tensor]) -> Gradients:
    """∇ loss, zero where it does not reach; the graph is kept."""
    found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for g, p in zip(found, parameters, strict=True)]


def adam_scaling(optimiser: torch.optim.Optimizer, parameters: Sequence[Tensor]) -> Gradients:
    """P = 1 / (√v̂ + ε) of each number, as Adam would scale its step; ones before its first step."""
    group = optimiser.param_groups[0]
    _, beta2 = group["betas"]
    scales = []
    for p in parameters:
        state = optimiser.state.get(p, {})
        if "exp_avg_sq" not in state:
            scales.append(torch.ones_like(p))
            continue
        corrected = state["exp_avg_sq"] / (1 - beta2 ** float(state["step"]))
        scales.append(1 / (corrected.sqrt() + group["eps"]))
    return scales


def product(first: Gradients, second: Gradients, scaling: Gradients | None = None) -> Tensor:
    """<x, P y>; P = 1 without `scaling`. A scalar, in the gradients' device and type."""
    parts = first if scaling is None else torch._foreach_mul(first, scaling)
    return torch.stack([s.sum() for s in torch._foreach_mul(parts, second)]).sum()


def norm(x: Gradients) -> Tensor:
    length: Tensor = torch.stack(torch._foreach_norm(x)).norm()
    return length


def angles(losses: Sequence[Gradients], meta: Gradients, scaling: Gradients) -> Tensor:
    """h_i = -<u, P g_i> / (‖u‖_P ‖g_i‖_P) for the meta-loss's gradient u, [N] in [-1, 1]; 0 for a gradient that is 0."""
    length = product(meta, meta, scaling).sqrt()
    found = []
    for g in losses:
        size = product(g, g, scaling).sqrt()
        found.append(-product(meta, g, scaling) / (length * size).clamp(min=1e-30))
    return torch.stack(found).clamp(-1, 1)
