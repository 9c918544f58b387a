"""Distances between two translators' pictures and features."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from distilgan.losses.adversarial import discriminator_least_squares, generator_least_squares
from distilgan.losses.translation import (
    channel_distance,
    content_distance,
    haar,
    high_frequency_distance,
    kernel_alignment,
)


def test_haar_keeps_the_energy_and_can_be_undone() -> None:
    x = torch.randn(2, 3, 6, 8, dtype=torch.float64)
    low, high = haar(x)
    assert (low.shape, high.shape) == ((2, 3, 3, 4), (2, 3, 3, 3, 4))
    assert float(low.square().sum() + high.square().sum()) == pytest.approx(float(x.square().sum()))
    across, down, both = high.unbind(1)
    back = torch.empty_like(x)
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        back[:, :, i::2, j::2] = (low + (-1) ** j * across + (-1) ** i * down + (-1) ** (i + j) * both) / 2
    torch.testing.assert_close(back, x)


def test_haar_bands_are_of_directions() -> None:
    flat = torch.ones(1, 1, 4, 4)
    columns = torch.tensor([1.0, -1.0, 1.0, -1.0]).expand(4, 4)[None, None]
    for x, energies in (
        (flat, [16, 0, 0, 0]), (columns, [0, 16, 0, 0]), (columns.transpose(2, 3), [0, 0, 16, 0]),
        (columns * columns.transpose(2, 3), [0, 0, 0, 16]),
    ):  # fmt: skip
        low, high = haar(x)
        assert [float(b.square().sum()) for b in (low, *high.unbind(1))] == energies


def test_high_frequencies_by_hand() -> None:
    """A chessboard of ±1 is a band of 2 at the first level, of three bands; with squares of two pixels, one of 4 at the second."""
    board = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(4, 4)[None, None]
    nothing = torch.zeros_like(board)
    assert float(high_frequency_distance(board, nothing)) == pytest.approx((2 / 3 + 0 + 0) / 3)
    coarse = board.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert float(high_frequency_distance(coarse, torch.zeros_like(coarse))) == pytest.approx((0 + 4 / 3 + 0) / 3)
    assert float(high_frequency_distance(coarse, torch.zeros_like(coarse), levels=1)) == 0


def test_high_frequencies_are_blind_to_brightness() -> None:
    x = torch.rand(2, 3, 16, 16)
    assert float(high_frequency_distance(x, x + 0.3)) == pytest.approx(0, abs=1e-6)
    assert float(high_frequency_distance(x, torch.rand(2, 3, 16, 16))) > 0.1


def aligned(x: Tensor, y: Tensor) -> float:
    return float(kernel_alignment(x, y))


def test_kernel_alignment_by_hand() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(2, 3, 2, 2), torch.randn(2, 5, 2, 2)  # widths may differ
    rows = [torch.stack([f[n, :, i, j] for n in range(2) for i in range(2) for j in range(2)]) for f in (x, y)]
    kx, ky = (r @ r.t() for r in rows)
    expected = 1 - float((kx * ky).sum() / (kx.norm() * ky.norm()))
    assert aligned(x, y) == pytest.approx(expected, rel=1e-5)
    assert 0 < expected < 1


def test_what_kernel_alignment_is_blind_to() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)
    turn = torch.linalg.qr(torch.randn(4, 4))[0]
    turned = torch.einsum("ij,njhw->nihw", turn, x)
    for same in (x, -3 * x, turned, torch.cat([x, x], 1)):
        assert aligned(same, x) == pytest.approx(0, abs=1e-5)
        assert aligned(same, y) == pytest.approx(aligned(x, y), rel=1e-4)
    order = torch.randperm(9)
    moved = [f.flatten(2)[:, :, order].view_as(f) for f in (x, y)]
    assert aligned(*moved) == pytest.approx(aligned(x, y), rel=1e-4)
    assert aligned(x.flip(-1), y) != pytest.approx(aligned(x, y), rel=1e-3)  # but not to where a feature is
    apart = torch.eye(4).reshape(4, 4, 1, 1)
    assert aligned(apart[:2], apart[2:]) == pytest.approx(0, abs=1e-6)  # two places, nothing in common, in both
    assert aligned(torch.zeros(1, 2, 3, 3), x[:1]) == 1


def test_channel_distance_compares_means() -> None:
    s, t = torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, 2)
    s[0, 0], t[0, 1, 0, 0] = 1.0, 4.0  # means (1, 0) and (0, 1)
    assert float(channel_distance(s, t)) == 1
    assert float(channel_distance(t, t.flip(-1))) == 0


def test_content_distance_pulls_the_translation_alone() -> None:
    features, target = (
        torch.tensor([[[[1.0, 2.0]]]], requires_grad=True),
        torch.tensor([[[[0.0, 4.0]]]], requires_grad=True),
    )
    loss = content_distance(features, target)
    assert float(loss.detach()) == (1 + 4) / 2
    loss.backward()
    assert features.grad is not None
    assert features.grad.flatten().tolist() == [1, -2]
    assert target.grad is None


def test_least_squares_by_hand() -> None:
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([0.5, -1.0])
    assert float(discriminator_least_squares(real, fake)) == pytest.approx(((0 + 4) / 2 + (0.25 + 1) / 2) / 2)
    assert float(generator_least_squares(fake)) == pytest.approx((0.25 + 4) / 2)
