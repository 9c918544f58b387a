"""The two players' losses and their regularisers."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def generator_nonsaturating(fake_scores: Tensor) -> Tensor:
    """mean softplus(-D(G(z))); scores of any shape, value in (0, ∞). Goodfellow et al. 2014, section 3."""
    return F.softplus(-fake_scores.float()).mean()


def discriminator_logistic(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """mean softplus(-D(x)) + mean softplus(D(G(z))); value in (0, ∞). Goodfellow et al. 2014, section 3."""
    return F.softplus(-real_scores.float()).mean() + F.softplus(fake_scores.float()).mean()


def generator_hinge(fake_scores: Tensor) -> Tensor:
    """-mean D(G(z)); value in (-∞, ∞). Lim and Ye, "Geometric GAN", 2017, equation 13; Miyato et al. 2018, equation 17."""
    return -fake_scores.float().mean()


def discriminator_hinge(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """mean max(0, 1 - D(x)) + mean max(0, 1 + D(G(z))); value in [0, ∞). Miyato et al. 2018, equation 16."""
    return F.relu(1 - real_scores.float()).mean() + F.relu(1 + fake_scores.float()).mean()


def r1_penalty(real_scores: Tensor, real_images: Tensor) -> Tensor:
    """E ‖∇_x D(x)‖², without γ/2; `real_images` [N, ...] must require grad. Mescheder et al. 2018, equation 9."""
    (gradient,) = torch.autograd.grad(real_scores.sum(), real_images, create_graph=True)
    return gradient.float().square().sum(dim=tuple(range(1, gradient.dim()))).mean()


def path_lengths(images: Tensor, w: Tensor, noise: Tensor) -> Tensor:
    """|Jᵀ y| of each sample, [N]: how far w moves the picture along y.

    Args:
        images: [N, 3, H, W], a function of w. w: [N, num_ws, w_dim]. noise: y ~ N(0, 1), the images' shape.
    Source: Karras et al. 2020, equation 4; per style root mean square over the num_ws inputs, y scaled by 1/√(HW).
    """
    y = noise / math.sqrt(images.shape[2] * images.shape[3])
    (gradient,) = torch.autograd.grad((images * y).sum(), w, create_graph=True)
    return gradient.float().square().sum(2).mean(1).sqrt()
