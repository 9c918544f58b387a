"""The terms of face frontalization. Every one is a mean, so that neither batch nor picture size changes its meaning.

Source: Huang et al., "Beyond Face Rotation", ICCV 2017, section 3.2. Its text leaves the reductions open; its code sums over
pixels, its ports take means under the same weights.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor


def absolute(image: Tensor, target: Tensor) -> Tensor:
    """mean |x - y| over batch, channels and pixels, in [0, 2] for pictures in [-1, 1]. Equation 5, at one scale."""
    return (image.float() - target.float()).abs().mean()


def patches(made: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> Tensor:
    """mean over the local pathways of mean |x_k - y_k|, in [0, 2]; pathway -> patch [N, 3, h, w].

    Published codes take the sum: their weight is a quarter of ours.
    """
    return torch.stack([absolute(made[name], target[name]) for name in target]).mean()


def asymmetry(image: Tensor) -> Tensor:
    """mean |x - mirror(x)|, in [0, 2]. Equation 6.

    Both halves are pulled towards each other. The paper's code lets the visible half stand still; its ports detach the whole
    mirror image, which only halves the weight.
    """
    return absolute(image, image.flip(-1))


def total_variation(image: Tensor) -> Tensor:
    """mean |x(i, j) - x(i+1, j)| + mean |x(i, j) - x(i, j+1)|, in [0, 4]. Equation 9."""
    x = image.float()
    return (x[:, :, 1:] - x[:, :, :-1]).abs().mean() + (x[:, :, :, 1:] - x[:, :, :, :-1]).abs().mean()


def identity_distance(made: Tensor, target: Tensor) -> Tensor:
    """1 - mean cos(f(x), f(y)) of identity features [N, D], in [0, 2]. Equation 8, with the angle instead of the difference."""
    return 1 - F.cosine_similarity(made.float(), target.float().detach(), dim=1).mean()


def normalised_features(
    student: Mapping[str, Tensor], teacher: Mapping[str, Tensor], variances: Mapping[str, float]
) -> Tensor:
    """mean over taps of mean (f_S - f_T)² / Var f_T, in [0, ∞); 1 for a student that knows the teacher's mean alone.

    Args:
        student, teacher: tap -> features [N, C, H, W] of one width; the student's have passed their adapters.
        variances: tap -> variance of all numbers of the teacher's features over the data, which makes taps comparable.
    """
    terms = [
        (student[name].float() - f.float().detach()).square().mean() / max(variances[name], 1e-8)
        for name, f in teacher.items()
    ]
    return torch.stack(terms).mean()


def margin_softmax(cosines: Tensor, identity: Tensor, scale: float = 24.0, margin: float = 0.2) -> Tensor:
    """Cross-entropy of scale · (cos_i - margin for the right person), in (0, ∞).

    Args:
        cosines: of a face with each person [N, K]. identity: int64 [N].
    Source: Wang et al., "CosFace", CVPR 2018, equation 4.
    """
    right = F.one_hot(identity, cosines.shape[1]).to(cosines.dtype)
    return F.cross_entropy(scale * (cosines.float() - margin * right), identity)
