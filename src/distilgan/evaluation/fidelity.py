"""How far apart two sets of pictures are, from their feature vectors.

FID and KID are torchmetrics'; precision, recall, density and coverage are here, because it has none.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn


class _Given(nn.Module):
    """An extractor for features that are extracted already."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width

    def forward(self, x: Tensor) -> Tensor:
        return x


def frechet_distance(first: Tensor, second: Tensor) -> float:
    """FID of features [N, D] and [M, D]: ‖μ - μ'‖² + Tr(Σ + Σ' - 2 (ΣΣ')^½), in float64; in [0, ∞).

    Biased upwards for few samples, strongly so for N < D; compare only values of equal N. Heusel et al. 2017, equation 6.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature=_Given(first.shape[1]))
    metric.set_dtype(torch.float64)
    metric.update(first.double(), real=True)
    metric.update(second.double(), real=False)
    return float(metric.compute())


def kernel_distance(first: Tensor, second: Tensor) -> float:
    """KID: the unbiased MMD² with kernel (xᵀy / D + 1)³ over all samples of [N, D] and [M, D]; can be slightly negative.

    Not the mean over random subsets, so it is deterministic: the larger set is cut into pieces of the size of the smaller
    and the mean over pieces is taken. Binkowski et al. 2018, section 4.
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    n = min(len(first), len(second))
    pieces = max(len(first), len(second)) // n
    values = []
    for i in range(pieces):
        x = first[i * n : (i + 1) * n] if len(first) >= 2 * n else first[:n]
        y = second[i * n : (i + 1) * n] if len(second) >= 2 * n else second[:n]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*save all extracted features.*")
            metric = KernelInceptionDistance(feature=_Given(x.shape[1]), subsets=1, subset_size=n)
        metric.set_dtype(torch.float64)
        metric.update(x.double(), real=True)
        metric.update(y.double(), real=False)
        values.append(float(metric.compute()[0]))
    return sum(values) / pieces


def precision_recall(real: Tensor, fake: Tensor, k: int = 5) -> dict[str, float]:
    """Precision, recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020) by k-nearest-neighbour balls.

    Args:
        real, fake: features [N, D], [M, D]; k: neighbour that sets each ball's radius (5 as in Naeem et al.).
    Returns:
        precision: share of fakes inside any real ball. recall: share of reals inside any fake ball. density: mean number of
        real balls around a fake, over k (can exceed 1). coverage: share of reals whose ball holds a fake.
    """
    real, fake = real.double(), fake.double()
    radius_real, radius_fake = _kth_neighbour(real, k), _kth_neighbour(fake, k)
    distance = torch.cdist(real, fake)  # [N, M]
    inside_real = distance < radius_real[:, None]
    return {
        "precision": float(inside_real.any(0).double().mean()),
        "recall": float((distance < radius_fake[None]).any(1).double().mean()),
        "density": float(inside_real.double().sum(0).mean() / k),
        "coverage": float(inside_real.any(1).double().mean()),
    }


def _kth_neighbour(x: Tensor, k: int) -> Tensor:
    """Distance of each row to its k-th nearest other row."""
    k = min(k, len(x) - 1)
    return torch.cdist(x, x).kthvalue(k + 1, dim=1).values  # the nearest is the row itself
