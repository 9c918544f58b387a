"""The terms of frontalization by hand."""

from __future__ import annotations

import math

import pytest
import torch

from distilgan.losses.adversarial import discriminator_logistic, discriminator_wasserstein, gradient_penalty
from distilgan.losses.frontal import (
    absolute,
    asymmetry,
    identity_distance,
    margin_softmax,
    normalised_features,
    patches,
    total_variation,
)


def test_means_of_differences() -> None:
    x, y = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    x[0] = 0.5
    assert float(absolute(x, y)) == pytest.approx(0.25)
    assert float(patches({"a": x, "b": y}, {"a": y, "b": y})) == pytest.approx(0.125)


def test_asymmetry_pulls_both_sides_towards_each_other() -> None:
    x = torch.zeros(1, 1, 1, 4, requires_grad=True)
    with torch.no_grad():
        x[..., 0] = 1.0
    loss = asymmetry(x)
    assert float(loss.detach()) == pytest.approx(2 / 4)
    loss.backward()
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [0.5, 0.0, 0.0, -0.5]


def test_total_variation_of_a_step() -> None:
    x = torch.zeros(1, 1, 2, 4)
    x[..., 2:] = 1.0
    assert float(total_variation(x)) == pytest.approx(0 + 2 / 6)


def test_identity_distance_is_one_minus_the_cosine() -> None:
    a, b = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]], requires_grad=True)
    assert float(identity_distance(a, b)) == pytest.approx(0.5)
    assert not identity_distance(a, b).requires_grad  # the target stands still


def test_features_are_compared_in_the_teachers_variances() -> None:
    torch.manual_seed(0)
    teacher = {"a": torch.randn(4, 3, 5, 5) * 7, "b": torch.randn(4, 2, 3, 3) * 0.01 + 4}
    ignorant, variances = (
        {k: v.mean().expand_as(v) for k, v in teacher.items()},
        {k: float(v.var()) for k, v in teacher.items()},
    )
    assert float(normalised_features(ignorant, teacher, variances)) == pytest.approx(1.0, rel=0.02)
    assert float(normalised_features(teacher, teacher, variances)) == 0.0


def test_margin_softmax_asks_for_more_of_the_right_person() -> None:
    cosines, who = torch.tensor([[0.9, 0.1]]), torch.tensor([0])
    expected = -math.log(math.exp(10 * 0.7) / (math.exp(10 * 0.7) + math.exp(10 * 0.1)))
    assert float(margin_softmax(cosines, who, scale=10, margin=0.2)) == pytest.approx(expected, abs=1e-6)


def test_smoothed_real_targets() -> None:
    real, fake = torch.tensor([1.5]), torch.tensor([-0.5])
    p = 1 / (1 + math.exp(-1.5))
    expected = -(0.9 * math.log(p) + 0.1 * math.log(1 - p)) + math.log(1 + math.exp(-0.5))
    assert float(discriminator_logistic(real, fake, 0.9)) == pytest.approx(expected)


def test_wasserstein_and_its_penalty_take_one_norm_a_picture() -> None:
    """D(x) = w·x has the gradient w everywhere; scores over a map are averaged first."""
    assert float(discriminator_wasserstein(torch.tensor([3.0]), torch.tensor([1.0]))) == -2.0
    x = torch.randn(4, 6, requires_grad=True)
    w = torch.tensor([3.0, 4.0, 0, 0, 0, 0])
    assert float(gradient_penalty((x * w).sum(1, keepdim=True), x)) == pytest.approx((5 - 1) ** 2)
    scores = torch.stack([(x * w).sum(1), (x * w).sum(1)], 1).reshape(4, 1, 2, 1)
    assert float(gradient_penalty(scores, x)) == pytest.approx((5 - 1) ** 2)
