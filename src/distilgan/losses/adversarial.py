"""The two players' losses and their regularisers."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def generator_nonsaturating(fake_scores: Tensor) -> Tensor:
    """mean softplus(-D(G(z))); scores of any shape, value in (0, ∞). Goodfellow et al. 2014, section 3."""
    return F.softplus(-fake_scores.float()).mean()


def discriminator_logistic(real_scores: Tensor, fake_scores: Tensor, real_target: float = 1.0) -> Tensor:
    """-mean (t log σ(D(x)) + (1 - t) log(1 - σ(D(x)))) - mean log(1 - σ(D(G(z)))); value in (0, ∞).

    Source: Goodfellow et al. 2014, section 3, where the target t is 1; below 1 it is one-sided label smoothing (Salimans et al.
    2016, section 3.4).
    """
    real = real_scores.float()
    wanted = real_target * F.softplus(-real) + (1 - real_target) * F.softplus(real)
    return wanted.mean() + F.softplus(fake_scores.float()).mean()


def discriminator_wasserstein(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """mean D(G(z)) - mean D(x); value in (-∞, ∞). Arjovsky et al., "Wasserstein GAN", 2017, equation 2."""
    return fake_scores.float().mean() - real_scores.float().mean()


def gradient_penalty(scores: Tensor, images: Tensor) -> Tensor:
    """E (‖∇_x D(x)‖ - 1)², x between real and generated pictures [N, ...]; one norm a picture, scores averaged over their map.

    Source: Gulrajani et al., "Improved Training of Wasserstein GANs", 2017, equation 3.
    """
    (gradient,) = torch.autograd.grad(scores.float().flatten(1).mean(1).sum(), images, create_graph=True)
    lengths: Tensor = gradient.float().flatten(1).norm(dim=1)
    return (lengths - 1).square().mean()


def generator_hinge(fake_scores: Tensor) -> Tensor:
    """-mean D(G(z)); value in (-∞, ∞). Lim and Ye, "Geometric GAN", 2017, equation 13; Miyato et al. 2018, equation 17."""
    return -fake_scores.float().mean()


def discriminator_hinge(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """mean max(0, 1 - D(x)) + mean max(0, 1 + D(G(z))); value in [0, ∞). Miyato et al. 2018, equation 16."""
    return F.relu(1 - real_scores.float()).mean() + F.relu(1 + fake_scores.float()).mean()


def generator_least_squares(fake_scores: Tensor) -> Tensor:
    """mean (D(G(x)) - 1)²; value in [0, ∞). Mao et al., "Least Squares GAN", 2017, equation 9 with a = 0, b = c = 1."""
    return (fake_scores.float() - 1).square().mean()


def discriminator_least_squares(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """(mean (D(y) - 1)² + mean D(G(x))²) / 2; value in [0, ∞). Mao et al. 2017, equation 9, halved as in pix2pix and CUT."""
    return ((real_scores.float() - 1).square().mean() + fake_scores.float().square().mean()) / 2


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
