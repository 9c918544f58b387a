"""How far a student's pictures are from the teacher's: in pixels, in a critic's features, in feature moments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


def layer_weights(layers: int) -> list[float]:
    """α of the layers: 1 for the last, before it 1/4, 1/8, ... (1/32, 1/16, 1/8, 1/4, 1 for five, as in TinyGAN's code)."""
    return [2.0 ** -(layers - i) for i in range(layers - 1)] + [1.0]


def feature_distance(student: Sequence[Tensor], teacher: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Σ_i α_i mean |D_i(T) - D_i(S)|, in [0, ∞).

    Args:
        student, teacher: feature maps of one critic, layer by layer, each [N, C_i, H_i, W_i]. weights: α_i.
    Source: Chang and Lu 2020, L_KD_feat; the mean over all elements instead of their sum is that of its code.
    """
    terms = [w * (s.float() - t.float()).abs().mean() for s, t, w in zip(student, teacher, weights, strict=True)]
    return torch.stack(terms).sum()


def pixel_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """mean |T - S|, in [0, 2] for pictures in [-1, 1]. Chang and Lu 2020, L_KD_pix."""
    return (student.float() - teacher.float()).abs().mean()


class Moments(NamedTuple):
    """What a teacher's features are on average: of each group E f and E f² [G, D]; and of all the variances of f and f².

    The variances are sums over the D features: the units in which a student's distance is measured.
    """

    first: Tensor
    second: Tensor
    first_spread: Tensor  # []
    second_spread: Tensor


def feature_moments(features: Tensor, groups: Tensor, count: int) -> Moments:
    """Moments of features [N, D] within `count` groups; `groups` [N] says whose each sample is. Zero for an empty group."""
    f = features.float()
    sizes = torch.bincount(groups, minlength=count).clamp(min=1)
    first, second = (_sums(v, groups, count) / sizes[:, None] for v in (f, f.square()))
    return Moments(first, second, f.var(0).sum(), f.square().var(0).sum())


def moment_distance(features: Tensor, groups: Tensor, teacher: Moments) -> Tensor:
    """Σ_g n_g/N (|μ_g - μ_g^T|² / V + |ν_g - ν_g^T|² / W), μ = E f, ν = E f², estimated without bias from features [N, D].

    V and W are the variances of the teacher's f and f², so that a student without any features is at about 1. Within a group
    the square is the mean of d_i·d_j over its pairs i ≠ j, d = f - μ^T: of the moments of a small batch the distance itself,
    squared or not, would also hold their own variance, and fall when all samples of a group become one. Hence the estimate
    may be negative. Groups with fewer than two samples are left out; with none left the distance is 0. Each group that has samples
    needs moments of the teacher's.

    Source: Yeo et al., "Nickel and Diming Your GAN", ECCV 2024, DiME, which has the absolute distance of a batch's moments.
    """
    f = features.float()
    count = len(teacher.first)
    sizes = torch.bincount(groups, minlength=count)
    used = sizes >= 2
    share = torch.where(used, sizes, 0) / sizes[used].sum().clamp(min=1)
    pairs = (sizes * (sizes - 1)).clamp(min=1)

    def squared(values: Tensor, target: Tensor, spread: Tensor) -> Tensor:
        d = values - target[groups]
        both = _sums(d, groups, count).square().sum(1) - _sums(d.square().sum(1, keepdim=True), groups, count)[:, 0]
        return (share * both / pairs).sum() / spread.clamp(min=1e-12)

    return squared(f, teacher.first, teacher.first_spread) + squared(f.square(), teacher.second, teacher.second_spread)


def _sums(values: Tensor, groups: Tensor, count: int) -> Tensor:
    """Sums [G, D] of the rows [N, D] of each group."""
    return values.new_zeros(count, values.shape[1]).index_add(0, groups, values)
