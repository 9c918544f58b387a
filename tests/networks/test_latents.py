from __future__ import annotations

import math

import pytest
import torch

from distilgan.networks.latents import BOUND, LatentSpec


@pytest.mark.parametrize("distribution", ["normal", "truncated_normal", "uniform"])
def test_drawn_moments_are_the_declared_ones(distribution: str) -> None:
    spec = LatentSpec([100], distribution)  # type: ignore[arg-type]
    z = spec.draw(4000, torch.Generator().manual_seed(3))
    mean, variance = spec.moments
    assert z.shape == (4000, 100)
    assert z.dtype == torch.float32
    assert float(z.mean()) == pytest.approx(mean, abs=5 * (variance / z.numel()) ** 0.5)
    assert float(z.var()) == pytest.approx(variance, rel=0.01)


def test_the_truncated_normal_is_the_normal_within_the_bound() -> None:
    """Against the distribution function of the normal, at a few points; six standard errors of 200,000 draws."""
    z = LatentSpec([1], "truncated_normal").draw(200_000, torch.Generator().manual_seed(0)).flatten().double()
    assert float(z.abs().max()) <= BOUND + 1e-6

    def phi(x: float) -> float:
        return 0.5 * (1 + math.erf(x / math.sqrt(2)))

    for x in (-1.5, -0.5, 0.0, 0.7, 1.9):
        expected = (phi(x) - phi(-BOUND)) / (phi(BOUND) - phi(-BOUND))
        assert float((z < x).double().mean()) == pytest.approx(expected, abs=0.007)


def test_a_seed_gives_the_same_latents_and_shapes_may_be_images() -> None:
    spec = LatentSpec([3, 8, 8])
    first, second = (spec.draw(2, torch.Generator().manual_seed(5)) for _ in range(2))
    assert first.shape == (2, 3, 8, 8)
    assert torch.equal(first, second)
    assert spec.words == "N(0, 1), 3x8x8 numbers"


@pytest.mark.parametrize("shape", [[], [2, 2], [0], [1, 2, 3, 4]])
def test_other_shapes_are_refused(shape: list[int]) -> None:
    with pytest.raises(ValueError, match="a latent is a vector"):
        LatentSpec(shape)
