"""How far apart two sets of pictures are, from their feature vectors.

FID and KID are torchmetrics' (FID of few pictures by the same formula in a cheaper form); precision, recall, density and
coverage are here, because it has none.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

# Bounds on memory: 50,000 pictures would need matrices of 20 GB.
_PIECE = 5000
_ROWS = 1000


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
    if min(len(first), len(second)) <= first.shape[1] // 2:
        return _frechet_distance_of_few(first.double(), second.double())
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature=_Given(first.shape[1]), sync_on_compute=False)
    metric.set_dtype(torch.float64)
    metric.update(first.double(), real=True)
    metric.update(second.double(), real=False)
    return float(metric.compute())


def _frechet_distance_of_few(first: Tensor, second: Tensor) -> float:
    """The same without a D by D matrix.

    With centred features A/√(N-1) and B/√(M-1) for Σ = AᵀA and Σ' = BᵀB, the eigenvalues of ΣΣ' are the squared singular
    values of ABᵀ.
    """
    a, b = ((x - x.mean(0)) / (len(x) - 1) ** 0.5 for x in (first, second))
    gap = (first.mean(0) - second.mean(0)).square().sum()
    root = torch.linalg.svdvals(a @ b.t()).sum()
    return float(gap + a.square().sum() + b.square().sum() - 2 * root)


def kernel_distance(first: Tensor, second: Tensor) -> float:
    """KID: the unbiased MMD² with kernel (xᵀy / D + 1)³ of [N, D] and [M, D]; can be slightly negative.

    Deterministic, unlike the usual mean over random subsets: both sets are cut into pieces of min(N, M, 5000), a last one
    reaching back so that every sample counts, and the mean over pairs of pieces is taken. Of sets in random order each
    piece is unbiased, so the mean is; classes in turn lower it by at most their spread over the piece's length. A set
    sorted by class has to be mixed first: its pieces are single classes. Binkowski et al. 2018, section 4.
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    size = min(len(first), len(second), _PIECE)
    x, y = _pieces(first, size), _pieces(second, size)
    values = []
    for i in range(max(len(x), len(y))):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*save all extracted features.*")
            metric = KernelInceptionDistance(
                feature=_Given(first.shape[1]), subsets=1, subset_size=size, sync_on_compute=False
            )
        metric.set_dtype(torch.float64)
        metric.update(x[i % len(x)].double(), real=True)
        metric.update(y[i % len(y)].double(), real=False)
        values.append(float(metric.compute()[0]))
    return sum(values) / len(values)


def _pieces(x: Tensor, size: int) -> list[Tensor]:
    starts = [*range(0, len(x) - size, size), len(x) - size]
    return [x[start : start + size] for start in starts]


def precision_recall(real: Tensor, fake: Tensor, k: int = 5) -> dict[str, float]:
    """Precision, recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020) by k-nearest-neighbour balls.

    Args:
        real, fake: features [N, D], [M, D]; N = M, or the radii do not compare. Cut mixed sets for it, not sorted ones.
        k: neighbour that sets each ball's radius (5 as in Naeem et al.).
    Returns:
        precision: share of fakes inside any real ball. recall: share of reals inside any fake ball. density: mean number of
        real balls around a fake, over k (can exceed 1). coverage: share of reals whose ball holds a fake.
    """
    real, fake = real.double(), fake.double()
    radius_real, radius_fake = _kth_neighbour(real, k), _kth_neighbour(fake, k)
    balls = torch.zeros(len(fake), dtype=torch.long)  # real balls around each fake
    recalled, covered = [], []
    for rows, radius in zip(torch.split(real, _ROWS), torch.split(radius_real, _ROWS), strict=True):
        distance = torch.cdist(rows, fake)
        inside_real = distance < radius[:, None]
        balls += inside_real.sum(0)
        covered.append(inside_real.any(1))
        recalled.append((distance < radius_fake[None]).any(1))
    return {
        "precision": float((balls > 0).double().mean()),
        "recall": float(torch.cat(recalled).double().mean()),
        "density": float(balls.double().mean() / k),
        "coverage": float(torch.cat(covered).double().mean()),
    }


def _kth_neighbour(x: Tensor, k: int) -> Tensor:
    """Distance of each row to its k-th nearest other row."""
    k = min(k, len(x) - 1)
    # the nearest is the row itself
    return torch.cat([torch.cdist(rows, x).kthvalue(k + 1, dim=1).values for rows in torch.split(x, _ROWS)])
