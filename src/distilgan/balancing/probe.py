"""Gradients of several losses, one by one, and how they lie to each other; each is one vector over all parameters, [P]."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def gradient(loss: Tensor, parameters: Sequence[Tensor]) -> tuple[Tensor, list[bool]]:
    """∇ loss [P], zeros where it does not reach, and which of the parameters it reaches; the graph is kept."""
    found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return flat(found, parameters), [g is not None for g in found]


def flat(found: Sequence[Tensor | None], parameters: Sequence[Tensor]) -> Tensor:
    """One vector of all, zeros for None: a network has hundreds of parameters, and what follows is a few products of vectors."""
    filled = [torch.zeros_like(p) if g is None else g for g, p in zip(found, parameters, strict=True)]
    return torch.cat([x.flatten() for x in filled])


def adam_scaling(optimiser: torch.optim.Optimizer, parameters: Sequence[Tensor]) -> Tensor:
    """P = 1 / (√v̂ + ε) of each number [P], as Adam scaled its last step; 0 of one that has had no gradient and does not move."""
    group = optimiser.param_groups[0]
    _, beta2 = group["betas"]
    steps = next((float(s["step"]) for s in optimiser.state.values() if "step" in s), 0.0)  # all parameters' alike
    v = flat([optimiser.state.get(p, {}).get("exp_avg_sq") for p in parameters], parameters)
    scaling: Tensor = (v > 0) / ((v / (1 - beta2**steps)).sqrt() + group["eps"])
    return scaling


def angles(losses: Tensor, meta: Tensor, scaling: Tensor) -> Tensor:
    """h_i = -<u, P g_i> / (‖u‖_P ‖g_i‖_P), ‖x‖_P² = <x, P x>, for the meta-loss's gradient u: [N] in [-1, 1]; 0 for a g_i of 0.

    Args:
        losses: gradients g_i, [N, P]. meta: u, [P]. scaling: the diagonal of P, [P].
    """
    scaled = scaling * meta
    length = (meta * scaled).sum().sqrt()
    found = [-(g * scaled).sum() / (length * (g * g * scaling).sum().sqrt()).clamp(min=1e-30) for g in losses]
    return torch.stack(found).clamp(-1, 1)
