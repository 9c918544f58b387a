"""Losses between projected features of a photo and of its translation, place by place.

All take rows of unit length [N, P, D]: P places of each of N pictures; negatives are other places of the same picture. `keys` (of
the photo) are detached. T is the temperature.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

_SELF = -10.0  # in place of a place's similarity to itself


def _others(similarity: Tensor) -> Tensor:
    """[N, P, P] with the diagonal out of the way."""
    own = torch.eye(similarity.shape[1], dtype=torch.bool, device=similarity.device)
    return similarity.masked_fill(own, _SELF)


def patch_nce(queries: Tensor, keys: Tensor, temperature: float = 0.07) -> Tensor:
    """mean_i -log(exp(q_i·k_i/T) / Σ_j exp(q_i·k_j/T)), in [0, ∞); log P where all are orthogonal.

    Source: Park et al., "Contrastive Learning for Unpaired Image-to-Image Translation", ECCV 2020, equation 3.
    """
    keys = keys.detach()
    positive = (queries * keys).sum(2, keepdim=True)  # [N, P, 1]
    logits = torch.cat([positive, _others(queries @ keys.transpose(1, 2))], 2) / temperature
    return F.cross_entropy(
        logits.flatten(0, 1), torch.zeros(logits.shape[:2].numel(), dtype=torch.long).to(logits.device)
    )


def semantic_relation(queries: Tensor, keys: Tensor) -> Tensor:
    """SRC: mean over pictures of Σ_i JSD(softmax_j(k_i·k_j) ‖ softmax_j(q_i·q_j)), in [0, P log 2].

    Source: Jung et al., "Exploring Patch-wise Semantic Relation for Contrastive Learning in Image-to-Image Translation Tasks", CVPR
    2022, equation 3; the sum over places is that of its code, which takes one picture at a time.
    """
    keys = keys.detach()
    p = (keys @ keys.transpose(1, 2)).softmax(2)
    q = (queries @ queries.transpose(1, 2)).softmax(2)
    middle = ((p + q) / 2).log()
    divergence = p * (p.log() - middle) + q * (q.log() - middle)
    return divergence.sum((1, 2)).mean() / 2


def hard_negative_weights(keys: Tensor, hardness: float, mode: Literal["code", "paper"] = "code") -> Tensor:
    """Weight of each negative [N, P, P], by how alike the photo's two places are; detached.

    `code`: softmax_j(k_i·k_j / γ) over its row's maximum, so in (0, 1]. `paper`: exp(γ k_i·k_j) over its row's mean over the
    negatives, which is importance sampling from a von Mises-Fisher density. The diagonal is 0 to `paper`, no matter to `code`.
    """
    with torch.no_grad():
        similarity = keys @ keys.transpose(1, 2)
        if mode == "code":
            weights = (_others(similarity) / hardness).softmax(2)
            return weights / weights.amax(2, keepdim=True)
        own = torch.eye(similarity.shape[1], dtype=torch.bool, device=similarity.device)
        weights = (hardness * similarity).masked_fill(own, -torch.inf).softmax(2)
        return weights * (similarity.shape[1] - 1)


def hard_negative_contrast(
    queries: Tensor, keys: Tensor, hardness: float, temperature: float = 0.07, mode: Literal["code", "paper"] = "code"
) -> Tensor:
    """hDCE: mean_i log Σ_{j≠i} w_ij-weighted exp((q_i·k_j - q_i·k_i) / T): decoupled, as the positive is not in the sum.

    `code` multiplies the similarities, exp((w_ij q_i·k_j - q_i·k_i)/T), and hardness γ divides; `paper` multiplies the
    exponentials, w_ij exp(...), and γ multiplies. In (-∞, ∞). The published code optimises exp(v - sg(v)) for the value v of
    `code`, whose gradient is that of v, and shows in its logs the PatchNCE of the weighted similarities.

    Source: Jung et al. 2022, equation 8.
    """
    keys = keys.detach()
    weights = hard_negative_weights(keys, hardness, mode)
    similarity = queries @ keys.transpose(1, 2)
    positive = (queries * keys).sum(2, keepdim=True)
    if mode == "code":
        exponents = (_others(weights * similarity) - positive) / temperature
    else:
        exponents = (similarity - positive) / temperature + weights.clamp(min=1e-30).log()
        own = torch.eye(similarity.shape[1], dtype=torch.bool, device=similarity.device)
        exponents = exponents.masked_fill(own, -torch.inf)
    return exponents.logsumexp(2).mean()
