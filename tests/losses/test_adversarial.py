from __future__ import annotations

import math

import torch

from distilgan.losses.adversarial import discriminator_logistic, generator_nonsaturating, path_lengths, r1_penalty


def test_logistic_losses_by_hand() -> None:
    real, fake = torch.tensor([[2.0], [-1.0]]), torch.tensor([[0.0], [3.0]])
    softplus = [math.log1p(math.exp(v)) for v in (-2, 1, 0, 3, 0, -3)]
    expected = (softplus[0] + softplus[1]) / 2 + (softplus[2] + softplus[3]) / 2
    assert math.isclose(float(discriminator_logistic(real, fake)), expected, rel_tol=1e-6)
    assert math.isclose(float(generator_nonsaturating(fake)), (softplus[4] + softplus[5]) / 2, rel_tol=1e-6)


def test_r1_of_a_linear_critic_is_its_squared_norm() -> None:
    weight = torch.randn(3 * 4 * 4)
    images = torch.randn(5, 3, 4, 4, requires_grad=True)
    scores = images.flatten(1) @ weight
    torch.testing.assert_close(r1_penalty(scores, images), weight.square().sum())


def test_r1_can_be_differentiated_again() -> None:
    weight = torch.randn(12, requires_grad=True)
    images = torch.randn(2, 3, 2, 2, requires_grad=True)
    r1_penalty((images.flatten(1) @ weight).square(), images).backward()
    assert weight.grad is not None


def test_path_length_of_a_linear_generator() -> None:
    """Image = A w for one style: |Jᵀy| is |Aᵀy|, with y scaled by 1/√(HW)."""
    a = torch.randn(3 * 4 * 4, 6)
    w = torch.randn(2, 1, 6, requires_grad=True)
    images = (w[:, 0] @ a.t()).reshape(2, 3, 4, 4)
    noise = torch.randn(2, 3, 4, 4)
    expected = (noise.flatten(1) / 4 @ a).norm(dim=1)
    torch.testing.assert_close(path_lengths(images, w, noise), expected)
