from __future__ import annotations

import math

import pytest
import torch

from distilgan.evaluation.fidelity import frechet_distance, kernel_distance, precision_recall


def test_frechet_distance_of_known_gaussians() -> None:
    """Features with exactly known mean and covariance: d² = ‖μ‖² + Tr(Σ + Σ' - 2 (ΣΣ')^½), diagonal case by hand."""
    torch.manual_seed(0)
    basis = torch.linalg.qr(torch.randn(400, 3, dtype=torch.float64) - 0).Q
    basis = torch.linalg.qr(basis - basis.mean(0)).Q * math.sqrt(399)  # zero mean, unit sample covariance
    first = basis * torch.tensor([1.0, 2.0, 3.0])
    second = basis * torch.tensor([2.0, 2.0, 1.0]) + torch.tensor([1.0, 0.0, -2.0])
    expected = 5 + (1 - 2) ** 2 + 0 + (3 - 1) ** 2
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("n", "m"), [(10, 30), (30, 10), (31, 12)])
def test_frechet_distance_of_few_pictures_is_that_of_many(n: int, m: int) -> None:
    """The short form against torchmetrics' on the same features; float64, so to nine digits."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    from distilgan.evaluation.fidelity import _Given

    torch.manual_seed(n)
    first, second = torch.randn(n, 64), 2 * torch.randn(m, 64) + 0.5
    metric = FrechetInceptionDistance(feature=_Given(64))
    metric.set_dtype(torch.float64)
    metric.update(first.double(), real=True)
    metric.update(second.double(), real=False)
    assert frechet_distance(first, second) == pytest.approx(float(metric.compute()), rel=1e-6)


def test_kernel_distance_by_definition() -> None:
    """The unbiased estimator written out with loops."""
    torch.manual_seed(1)
    x, y = torch.randn(6, 4).double(), torch.randn(6, 4).double() + 0.5

    def k(a: torch.Tensor, b: torch.Tensor) -> float:
        return float((a @ b / 4 + 1) ** 3)

    within = sum(k(s[i], s[j]) for s in (x, y) for i in range(6) for j in range(6) if i != j) / 30
    across = sum(k(a, b) for a in x for b in y) / 36
    assert kernel_distance(x, y) == pytest.approx(within - 2 * across, rel=1e-9)


def test_every_sample_of_the_larger_set_counts() -> None:
    torch.manual_seed(4)
    x, y = torch.randn(10, 4), torch.randn(25, 4)
    base = kernel_distance(x, y)
    for i in range(25):
        moved = y.clone()
        moved[i] += 3
        assert kernel_distance(x, moved) != base, i


def test_rows_in_blocks_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    x, y = torch.randn(2, 30, 4)
    expected = precision_recall(x, y + 0.3)
    monkeypatch.setattr("distilgan.evaluation.fidelity._ROWS", 7)
    assert precision_recall(x, y + 0.3) == pytest.approx(expected)


def test_kernel_distance_is_unbiased_and_deterministic() -> None:
    torch.manual_seed(2)
    values = [kernel_distance(torch.randn(40, 8), torch.randn(40, 8)) for _ in range(30)]
    mean, error = sum(values) / 30, float(torch.tensor(values).std()) / 30**0.5
    assert abs(mean) < 3 * error
    x, y = torch.randn(2, 20, 8)
    assert kernel_distance(x, y) == pytest.approx(kernel_distance(x, y), rel=1e-12)


def test_precision_recall_on_a_line() -> None:
    """Reals at 0, 1, 2, 3; fakes at 0.4 and 100; k = 1: every real ball has radius 1."""
    real = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    fake = torch.tensor([[0.4], [100.0]])
    found = precision_recall(real, fake, k=1)
    assert found["precision"] == 0.5  # 0.4 is inside, 100 is not
    assert found["recall"] == 1.0  # both fakes' balls have radius 99.6
    assert found["density"] == 1.0  # 0.4 lies in two balls (of 0 and 1): 2 / (1 * 2)
    assert found["coverage"] == 0.5  # the balls of 0 and 1 hold a fake


def test_equal_sets_are_covered() -> None:
    x = torch.randn(50, 4)
    found = precision_recall(x, x.clone(), k=3)
    assert found["precision"] == found["recall"] == found["coverage"] == 1.0
