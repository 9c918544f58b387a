"""Our SSIM against torchmetrics' map, and as something to learn from."""

from __future__ import annotations

import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from distilgan.perception.structural import structural_similarity


def pair(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(size)
    x = torch.rand(3, 3, size, size, generator=generator) * 2 - 1
    return x, (x + 0.3 * torch.randn(3, 3, size, size, generator=generator)).clamp(-1, 1)


def test_values_are_those_of_torchmetrics_where_the_window_fits() -> None:
    """Its own mean also has the positions on the border, where it reflects the picture. Tolerance: float32 sums."""
    for size in (16, 33):
        x, y = pair(size)
        _, whole = structural_similarity_index_measure((x + 1) / 2, (y + 1) / 2, data_range=1.0, return_full_image=True)
        inside = whole[:, :, 5:-5, 5:-5].mean((1, 2, 3))
        torch.testing.assert_close(structural_similarity(x, y), inside, atol=2e-5, rtol=0)


def test_digits_of_scikit_image() -> None:
    """structural_similarity(..., channel_axis=0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1)."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, 40, 40, generator=generator)
    y = (x + 0.3 * torch.randn(2, 3, 40, 40, generator=generator)).clamp(0, 1)
    expected = torch.tensor([0.6554095447602498, 0.6787045128779186])
    torch.testing.assert_close(structural_similarity(2 * x - 1, 2 * y - 1), expected, atol=2e-6, rtol=0)


def test_equal_pictures_and_the_way_there() -> None:
    x, y = pair(24)
    torch.testing.assert_close(structural_similarity(x, x), torch.ones(3))
    y.requires_grad_()
    (gradient,) = torch.autograd.grad(1 - structural_similarity(x, y).mean(), y)
    moved = y.detach() - 5 * gradient
    assert float(structural_similarity(x, moved).mean()) > float(structural_similarity(x, y.detach()).mean())


def test_pictures_smaller_than_the_window() -> None:
    x, _ = pair(8)
    torch.testing.assert_close(structural_similarity(x, x), torch.ones(3))
