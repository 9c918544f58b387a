"""How much a neural-ODE translator's pictures depend on its solver: a network trained with one is only valid near it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from distilgan.data.images import to_float, to_uint8
from distilgan.evaluation.agreement import picture_agreement
from distilgan.networks.ode_translator import ODETranslator
from distilgan.networks.resnet_translator import ResnetTranslator
from distilgan.perception.perceptual import build_perceptual

_BATCH, _TIGHT = 8, 1e-3
OWN, EXACT = "as learnt", "dopri5"
# Of each name what is changed in the student's own config.
SOLVERS_TRIED: dict[str, dict[str, Any]] = {
    OWN: {},
    "euler 1": {"solver": "euler", "steps": 1},
    "euler 2": {"solver": "euler", "steps": 2},
    "rk4 1": {"solver": "rk4", "steps": 1},
    EXACT: {"solver": "dopri5", "steps": 1, "rtol": _TIGHT, "atol": _TIGHT},
}


@torch.no_grad()
def solver_sensitivity(network: ResnetTranslator, crops: Tensor) -> dict[str, dict[str, float]]:
    """Solver -> PSNR (dB) and SSIM of its pictures against the network's own, mean evaluations of a block's function.

    `crops` uint8 [N, 3, H, W]. Nothing for a network without ODEs.
    """
    if not isinstance(network, ODETranslator):
        return {}
    perceptual, device = build_perceptual("efficientnet-lite0"), next(network.parameters()).device
    images = [to_float(part).to(device) for part in torch.split(crops, _BATCH)]
    own = [network(image) for image in images]
    found = {}
    for name, changes in SOLVERS_TRIED.items():
        other = network.solved_by(**changes)
        made, evaluations = [], []
        for image in images:
            made.append(other(image))
            evaluations += other.evaluations
        pairs = [(_as_seen(a), _as_seen(b)) for a, b in zip(own, made, strict=True)]
        figures = {
            key: float(v.mean()) for key, v in picture_agreement(pairs, perceptual).items() if key != "perceptual"
        }
        found[name] = {**figures, "evaluations": sum(evaluations) / len(evaluations)}
    return found


def _as_seen(image: Tensor) -> Tensor:
    """As 8-bit pictures show it: small differences are nothing, and equal ones are."""
    return to_float(to_uint8(image)).cpu()
