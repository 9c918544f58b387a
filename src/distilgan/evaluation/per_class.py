"""Class by class: what a mean over all pictures hides."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from distilgan.evaluation.fidelity import frechet_distance, kernel_distance

PerClass = dict[int, float]


class Sample(NamedTuple):
    """Features of pictures [N, D] and, where they have classes, their class numbers [N]."""

    features: Tensor
    label: Tensor | None


FEWEST = 8
"""Pictures of a class below which nothing is said of it."""


def distances(
    distance: Callable[[Tensor, Tensor], float], real: Tensor, real_label: Tensor, fake: Tensor, fake_label: Tensor
) -> PerClass:
    """`distance` between the features [N, D] of each class; classes of fewer than 8 pictures on a side are left out."""
    found = {}
    for label in torch.unique(real_label).tolist():
        ours, theirs = fake[fake_label == label], real[real_label == label]
        if min(len(ours), len(theirs)) >= FEWEST:
            found[int(label)] = distance(theirs, ours)
    return found


def intra_fid(real: Tensor, real_label: Tensor, fake: Tensor, fake_label: Tensor) -> PerClass:
    """Intra-class FID (Miyato and Koyama 2018, section 4.2): the Fréchet distance of each class.

    A class has few pictures, so the bias of the FID is large: compare only values of equal numbers.
    """
    return distances(frechet_distance, real, real_label, fake, fake_label)


def intra_kid(real: Tensor, real_label: Tensor, fake: Tensor, fake_label: Tensor) -> PerClass:
    """The kernel distance of each class: unbiased for any number of pictures."""
    return distances(kernel_distance, real, real_label, fake, fake_label)


def spread(name: str, values: PerClass, lower_is_better: bool = True) -> dict[str, float]:
    """`name` as mean, median, best and worst over the classes."""
    if not values:
        return {}
    best, worst = (min, max) if lower_is_better else (max, min)
    figures = list(values.values())
    return {
        f"{name}_mean": statistics.fmean(figures),
        f"{name}_median": statistics.median(figures),
        f"{name}_best": best(figures),
        f"{name}_worst": worst(figures),
    }


class LinearProbe:
    """Logistic regression on fixed features: a classifier that is the same whenever its training set is.

    Args:
        features, label: what it learns from, [N, D] and class numbers [N].
        decay: weight of ½‖W‖² beside the mean cross-entropy, on features of mean 0 and deviation 1.
    """

    def __init__(self, features: Tensor, label: Tensor, num_classes: int, decay: float = 1e-2) -> None:
        self.mean, self.scale = features.mean(0), features.std(0).clamp(min=1e-6)
        x = self._normalised(features)
        weight = torch.zeros(num_classes, x.shape[1], requires_grad=True)
        bias = torch.zeros(num_classes, requires_grad=True)
        optimiser = torch.optim.LBFGS([weight, bias], max_iter=100, history_size=10, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimiser.zero_grad()
            value = F.cross_entropy(x @ weight.t() + bias, label) + decay / 2 * weight.square().sum()
            value.backward()  # type: ignore[no-untyped-call]
            return value

        with torch.enable_grad():
            optimiser.step(loss)  # type: ignore[no-untyped-call]
        self.weight, self.bias = weight.detach(), bias.detach()

    def _normalised(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.scale

    def accuracy(self, features: Tensor, label: Tensor) -> PerClass:
        """Share of each class's pictures that it gives the right class."""
        right = (self._normalised(features) @ self.weight.t() + self.bias).argmax(1) == label
        return mean_by_class(right, label)


def classifier_scores(
    train: Tensor, train_label: Tensor, real: Tensor, real_label: Tensor, fake: Tensor, fake_label: Tensor
) -> dict[str, PerClass]:
    """How well generated pictures show their class, from both sides; each a share in [0, 1] by class.

    Args:
        train, real, fake: features [N, D], [M, D], [K, D], and their class numbers, int64 [N], [M], [K].

    Returns:
        accuracy: of a classifier trained on real pictures, on generated ones. cas: of one trained on generated pictures, on
        real ones (classification accuracy score, Ravuri and Vinyals 2019). accuracy_real: of the first on real ones: what
        can be reached, if it has not learnt from those.
    """
    classes = int(max(train_label.max(), real_label.max(), fake_label.max())) + 1
    taught_by_real, taught_by_fake = LinearProbe(train, train_label, classes), LinearProbe(fake, fake_label, classes)
    return {
        "accuracy": taught_by_real.accuracy(fake, fake_label),
        "cas": taught_by_fake.accuracy(real, real_label),
        "accuracy_real": taught_by_real.accuracy(real, real_label),
    }


def measure_classes(real: Sample, fake: Sample, lesson: Sample | None, unseen: bool) -> dict[str, PerClass]:
    """Every figure of each class; those of classifiers where there is something to learn from.

    `accuracy_real` is left out unless `real` is `unseen` in the lesson: there a classifier may know every picture by heart.
    """
    assert real.label is not None
    assert fake.label is not None
    found = {
        "intra_fid": intra_fid(real.features, real.label, fake.features, fake.label),
        "intra_kid": intra_kid(real.features, real.label, fake.features, fake.label),
    }
    if lesson is not None and lesson.label is not None:
        found |= classifier_scores(lesson.features, lesson.label, real.features, real.label, fake.features, fake.label)
        if not unseen:
            del found["accuracy_real"]
    return found


def mean_by_class(values: Tensor, label: Tensor) -> PerClass:
    """Mean of a value of each picture [N] over each class."""
    return {int(c): float(values[label == c].double().mean()) for c in torch.unique(label).tolist()}
