from __future__ import annotations

import pytest
import torch

from distilgan.losses.adversarial import discriminator_hinge, generator_hinge
from distilgan.losses.feature_matching import (
    Moments,
    feature_distance,
    feature_moments,
    layer_weights,
    moment_distance,
    pixel_distance,
)


def test_hinge_on_fixed_numbers() -> None:
    real, fake = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([-3.0, 0.0, 0.5])
    # (0 + 0.5 + 2) / 3 + (0 + 1 + 1.5) / 3
    assert float(discriminator_hinge(real, fake)) == pytest.approx(5 / 3)
    assert float(generator_hinge(fake)) == pytest.approx(2.5 / 3)


def test_layer_weights_are_the_published_ones() -> None:
    assert layer_weights(5) == [1 / 32, 1 / 16, 1 / 8, 1 / 4, 1]  # TinyGAN
    assert layer_weights(4) == [1 / 16, 1 / 8, 1 / 4, 1]  # DiStyleGAN
    assert layer_weights(1) == [1]


def test_distances_by_hand() -> None:
    a, b = torch.zeros(2, 1, 2, 2), torch.full((2, 1, 2, 2), 0.5)
    b[0] = -1.0
    assert float(pixel_distance(a, b)) == pytest.approx(0.75)
    assert float(feature_distance([a, a], [b, 2 * b], [0.25, 1.0])) == pytest.approx(0.25 * 0.75 + 1.5)
    assert float(feature_distance([b], [b], [3.0])) == 0


def test_moments_of_groups_by_hand() -> None:
    features = torch.tensor([[1.0, 0.0], [3.0, 2.0], [5.0, 1.0]])
    found = feature_moments(features, torch.tensor([0, 0, 2]), 3)
    assert found.first.tolist() == [[2, 1], [0, 0], [5, 1]]
    assert found.second.tolist() == [[5, 2], [0, 0], [25, 1]]
    assert float(found.first_spread) == pytest.approx(4 + 1)  # variances of (1, 3, 5) and (0, 2, 1)
    assert float(found.second_spread) == pytest.approx(
        ((1 - 35 / 3) ** 2 + (9 - 35 / 3) ** 2 + (25 - 35 / 3) ** 2) / 2 + 13 / 3
    )


def test_moment_distance_by_hand() -> None:
    teacher = feature_moments(
        torch.tensor([[0.0], [2.0], [1.0]]), torch.tensor([0, 0, 1]), 2
    )  # means 1, 1; squares 2, 1
    first, second = 1.0, (0.0 + 16 + 1) / 2 - 25 / 6  # variances of (0, 2, 1) and (0, 4, 1)
    # Group 0: d = 0, 2 and of the squares -1, 7; three pairs in group 1: d = 1, 2, -1, squares 3, 8, -1.
    features, groups = torch.tensor([[1.0], [3.0], [2.0], [3.0], [0.0]]), torch.tensor([0, 0, 1, 1, 1])
    zero = 0 * 2 / first + -1 * 7 / second
    one = (2 - 1 - 2) / 3 / first + (24 - 3 - 8) / 3 / second
    assert float(moment_distance(features, groups, teacher)) == pytest.approx(2 / 5 * zero + 3 / 5 * one)
    assert float(moment_distance(features[:2], torch.tensor([0, 1]), teacher)) == 0  # no pair anywhere


@pytest.mark.parametrize("n", [2, 3, 16])
def test_moment_distance_is_unbiased_and_does_not_reward_collapse(n: int) -> None:
    torch.manual_seed(0)
    mean, size = torch.tensor([1.0, -0.5, 2.0, 0.0]), 100_000
    teacher = feature_moments(mean + torch.randn(size, 4), torch.zeros(size, dtype=torch.int64), 1)
    groups = torch.arange(20_000).repeat_interleave(n)  # so many batches of n at once
    many = Moments(*(m.expand(20_000, 4) if m.dim() else m for m in teacher))

    def average(features: torch.Tensor) -> float:
        return float(moment_distance(features, groups, many))

    noise = torch.randn(len(groups), 4)
    # Standard errors over 20,000 batches of two are below 0.01.
    assert average(mean + noise) == pytest.approx(0, abs=0.03)
    # Means off by 0.5 each: 4 · 0.25 / (sum of variances, 4) beside the squares' part.
    shifted = 0.25 + float(((mean + 0.5).square() - mean.square()).square().sum() / teacher.second_spread)
    assert average(mean + 0.5 + noise) == pytest.approx(shifted, abs=0.05)
    # One picture a batch, n times: means as they should be, squares too large by nothing; but at the mean they are too small.
    assert average(mean.expand_as(noise)) == pytest.approx(4 / float(teacher.second_spread), rel=0.05)


def test_the_moment_term_has_a_gradient_to_every_picture() -> None:
    features = torch.randn(6, 3, requires_grad=True)
    groups = torch.tensor([0, 0, 1, 1, 1, 0])
    teacher = feature_moments(torch.randn(20, 3), torch.arange(20) % 2, 2)
    moment_distance(features, groups, teacher).backward()  # type: ignore[no-untyped-call]
    assert features.grad is not None
    assert bool((features.grad.abs().sum(1) > 0).all())
