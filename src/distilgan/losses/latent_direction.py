"""The latent-direction loss of StyleKD: what a step along a semantic direction does to a batch must agree.

Source: Xu, Hou, Liu, Loy, "Mind the Gap in Distilling StyleGANs", ECCV 2022. The directions are SeFa's closed form
(Shen and Zhou, "Closed-Form Factorization of Latent Semantics in GANs", CVPR 2021).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor


def sefa_directions(style_weights: list[Tensor], count: int) -> Tensor:
    """The `count` unit directions of w that move the styles most: top eigenvectors of AᵀA, rows of A normalised.

    Args:
        style_weights: affine weights [C_i, w_dim]; stacked they are A.
    Returns:
        [count, w_dim], orthonormal, by falling eigenvalue. SeFa, equation 8.
    """
    a = F.normalize(torch.cat([w.detach().double() for w in style_weights]), dim=1)
    values, vectors = torch.linalg.eigh(a.t() @ a)  # ascending
    order = torch.argsort(values, descending=True)[:count]
    top: Tensor = vectors[:, order].t()
    return top.float().contiguous()


def latent_offsets(directions: Tensor, choice: Tensor, length: Tensor, step: float) -> Tensor:
    """Signed steps along the chosen unit directions: step · length_i · d_{choice_i}.

    Args:
        directions: [K, w_dim]. choice: indices [N]. length: N(0, 1) draws [N]. step: their deviation (5 in the paper's code).
    Returns:
        [N, w_dim].
    """
    chosen = F.normalize(directions[choice], dim=1)
    return chosen * (step * length)[:, None]


def cross_view_similarity(first: Tensor, second: Tensor, group: int) -> Tensor:
    """S[g, i, j] = cos(f(w_i), f(w_j + o_j)) within groups of samples.

    Args:
        first, second: features of the two views, [N, ...]; `group` samples are compared with each other, all if there are
            fewer; N is a multiple of it. Sample n is in group n mod (N / group), so that a batch dealt out over processes
            keeps its groups.
    Returns:
        [N / group, group, group] in [-1, 1].
    """
    n = first.shape[0]
    size = min(group, n)

    def grouped(x: Tensor) -> Tensor:
        unit = F.normalize(x.float().flatten(1), dim=1)
        return unit.reshape(size, n // size, -1).transpose(0, 1)

    return grouped(first) @ grouped(second).transpose(1, 2)


def similarity_divergence(
    teacher: Mapping[str, tuple[Tensor, Tensor]],
    student: Mapping[str, tuple[Tensor, Tensor]],
    group: int,
    temperature: float = 1.0,
) -> Tensor:
    """Σ_layers mean_rows KL( softmax(S_T / τ) ‖ softmax(S_S / τ) ), in [0, ∞); 0 when the similarities agree.

    Args:
        teacher, student: layer name -> features of the two views, each [N, C, H, W]; widths need not agree, because each
            network's features are compared only with its own.
    Source: Xu et al. 2022, latent-direction loss.
    """
    terms = []
    for name, (first, second) in teacher.items():
        target = F.log_softmax(cross_view_similarity(first, second, group) / temperature, dim=-1)
        guess = F.log_softmax(cross_view_similarity(*student[name], group) / temperature, dim=-1)
        rows = target.shape[0] * target.shape[1]
        terms.append(F.kl_div(guess, target, reduction="sum", log_target=True) / rows)
    return torch.stack(terms).sum()
