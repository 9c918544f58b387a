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


def angles(
    losses: Sequence[Sequence[Tensor | None]], meta: Gradients, scaling: Gradients, shared: bool = False
) -> Tensor:
    """h_i = -<u, P g_i> / (‖u‖_P ‖g_i‖_P) for the meta-loss's gradient u, ‖x‖_P² = <x, P x>: [N] in [-1, 1]; 0 for a g_i of 0.

    Args:
        losses: gradients g_i, None where a loss does not reach. shared: only over the parameters that two losses or more reach,
            if there are any.
    """
    each = [filled(of_one, meta) for of_one in losses]
    if shared:
        kept = [i for i, of_one in enumerate(zip(*losses, strict=True)) if sum(g is not None for g in of_one) > 1]
        kept = kept or list(range(len(meta)))
        each = [[g[i] for i in kept] for g in each]
        meta, scaling = [meta[i] for i in kept], [scaling[i] for i in kept]
    length = product(meta, meta, scaling).sqrt()
    found = [-product(meta, g, scaling) / (length * product(g, g, scaling).sqrt()).clamp(min=1e-30) for g in each]
    return torch.stack(found).clamp(-1, 1)
