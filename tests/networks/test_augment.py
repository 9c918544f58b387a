from __future__ import annotations

import torch

from distilgan.networks.augment import DRAWS, diffaugment


def test_neutral_draws_change_nothing() -> None:
    x = torch.randn(4, 3, 16, 16)
    u = torch.full((4, DRAWS), 0.5)
    torch.testing.assert_close(diffaugment(x, ["color", "translation"], u), x, atol=1e-6, rtol=1e-6)


def test_translation_moves_by_whole_pixels_and_fills_with_zeros() -> None:
    x = torch.randn(1, 3, 16, 16)
    u = torch.full((1, DRAWS), 0.5)
    u[0, 3], u[0, 4] = 0.999, 0.0  # down by 2, left by 2
    y = diffaugment(x, ["translation"], u)
    torch.testing.assert_close(y[:, :, 2:, :-2], x[:, :, :-2, 2:])
    assert float(y[:, :, :2].abs().sum() + y[:, :, :, -2:].abs().sum()) == 0


def test_cutout_removes_a_square_of_half_the_size() -> None:
    u = torch.full((1, DRAWS), 0.5)
    y = diffaugment(torch.ones(1, 3, 16, 16), ["cutout"], u)
    assert float((y == 0).float().sum()) == 3 * 64


def test_colour_arithmetic() -> None:
    """Saturation 0 makes grey; contrast 1.5 stretches about the mean; brightness 1 adds a half."""
    x = torch.rand(1, 3, 8, 8)
    u = torch.full((1, DRAWS), 0.5)
    u[0, 1] = 0.0
    grey = diffaugment(x, ["color"], u)
    torch.testing.assert_close(grey[:, 0], grey[:, 2])
    u[0, 1], u[0, 2] = 0.5, 1.0
    stretched = diffaugment(x, ["color"], u)
    torch.testing.assert_close(stretched, (x - x.mean()) * 1.5 + x.mean())
    u[0, 2], u[0, 0] = 0.5, 1.0
    torch.testing.assert_close(diffaugment(x, ["color"], u), x + 0.5)


def test_gradients_flow_and_samples_differ() -> None:
    x = torch.randn(6, 3, 16, 16, requires_grad=True)
    u = torch.rand(6, DRAWS, generator=torch.Generator().manual_seed(0))
    y = diffaugment(x, ["color", "translation", "cutout"], u)
    y.square().sum().backward()
    assert x.grad is not None
    assert bool((x.grad.flatten(1).abs().sum(1) > 0).all())
