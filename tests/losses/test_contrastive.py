"""Losses between projected places: by hand, limits, what they are blind to."""

from __future__ import annotations

import math
from typing import Literal

import pytest
import torch
from torch import Tensor

from distilgan.losses.contrastive import (
    hard_negative_contrast,
    hard_negative_weights,
    patch_nce,
    semantic_relation,
)

Mode = Literal["code", "paper"]


def rows(pictures: int, places: int, width: int, seed: int = 0) -> Tensor:
    """Of unit length."""
    found = torch.randn(pictures, places, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return found / found.norm(dim=2, keepdim=True)


# -- PatchNCE --------------------------------------------------------------------------------------------------------------


def test_patch_nce_by_hand() -> None:
    """The official code puts -10 in place of a place's likeness to itself among the negatives: e^(-10/T) beside the positive."""
    q, k, temperature = rows(2, 3, 4, seed=1), rows(2, 3, 4, seed=2), 0.5
    total = 0.0
    for n in range(2):
        for i in range(3):
            exponentials = [math.exp(float(q[n, i] @ k[n, j]) / temperature) for j in range(3)]
            bottom = sum(exponentials) + math.exp(-10 / temperature)
            total -= math.log(exponentials[i] / bottom)
    assert float(patch_nce(q, k, temperature)) == pytest.approx(total / 6, rel=1e-9)


@pytest.mark.parametrize("places", [2, 16, 256])
def test_patch_nce_of_orthogonal_places_is_log_p(places: int) -> None:
    """Where training begins: log 256 = 5.55."""
    q, k = torch.eye(2 * places)[None].split(places, 1)
    assert float(patch_nce(q, k)) == pytest.approx(math.log(places), rel=1e-5)


def test_patch_nce_of_right_places_is_small_and_pictures_are_no_negatives() -> None:
    same = torch.eye(8, dtype=torch.float64)[None]
    assert float(patch_nce(same, same)) == pytest.approx(7 * math.exp(-1 / 0.07), rel=1e-2)
    assert float(patch_nce(same.expand(3, -1, -1), same.expand(3, -1, -1))) == pytest.approx(
        float(patch_nce(same, same))
    )


# -- SRC -------------------------------------------------------------------------------------------------------------------


def test_semantic_relation_by_hand() -> None:
    q, k = rows(2, 3, 4, seed=1), rows(2, 3, 5, seed=2)  # widths need not agree
    total = 0.0
    for n in range(2):
        for i in range(3):
            p, r = ([math.exp(float(x[n, i] @ x[n, j])) for j in range(3)] for x in (k, q))
            for a, b in zip([v / sum(p) for v in p], [v / sum(r) for v in r], strict=True):
                total += 0.5 * a * math.log(2 * a / (a + b)) + 0.5 * b * math.log(2 * b / (a + b))
    assert float(semantic_relation(q, k)) == pytest.approx(
        total / 2, rel=1e-9
    )  # a sum over places, a mean over pictures


def test_semantic_relation_is_a_distance_between_likenesses() -> None:
    q, k = rows(2, 6, 4, seed=1), rows(2, 6, 4, seed=2)
    assert float(semantic_relation(q, q)) == pytest.approx(0, abs=1e-12)
    assert float(semantic_relation(q, k)) == pytest.approx(float(semantic_relation(k, q)), rel=1e-9)
    assert float(semantic_relation(q, k)) > 0.01
    turn = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))[0]
    assert float(semantic_relation(q @ turn, q)) == pytest.approx(0, abs=1e-12)
    order = torch.randperm(6)
    assert float(semantic_relation(q[:, order], k[:, order])) == pytest.approx(float(semantic_relation(q, k)))


def test_semantic_relation_stays_below_p_log_2() -> None:
    """Reached where all places of one picture are like its first, and all of the other like its second."""
    shape = (1, 5, 1)
    one, other = torch.full(shape, 1.0, dtype=torch.float64), torch.full(shape, 1.0, dtype=torch.float64)
    one[0, 0], other[0, 1] = 15.0, 15.0
    found = float(semantic_relation(one, other))
    assert 0.999 * 5 * math.log(2) < found <= 5 * math.log(2)


# -- hDCE ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hardness", [1.0, 10.0, 50.0])
def test_published_weights_are_at_most_one(hardness: float) -> None:
    keys = rows(2, 6, 4)
    weights = hard_negative_weights(keys, hardness)
    torch.testing.assert_close(weights.amax(2), torch.ones(2, 6, dtype=torch.float64))
    assert float(weights.min()) >= 0
    assert float(weights.diagonal(dim1=1, dim2=2).max()) < 1
    likeness = (keys @ keys.transpose(1, 2)).masked_fill(torch.eye(6, dtype=torch.bool), -math.inf)
    assert torch.equal(weights.argmax(2), likeness.argmax(2))  # the likest place is the hardest negative
    nearest = likeness.amax(2, keepdim=True)
    outside = ~torch.eye(6, dtype=torch.bool).expand(2, -1, -1)
    torch.testing.assert_close(weights[outside], ((likeness - nearest) / hardness).exp()[outside])


def test_derived_weights_are_importances() -> None:
    """exp(γ k_i·k_j) with mean 1 over the negatives; none for a place itself."""
    keys, hardness = rows(2, 5, 4), 2.0
    weights = hard_negative_weights(keys, hardness, "paper")
    assert float(weights.diagonal(dim1=1, dim2=2).abs().max()) == 0
    torch.testing.assert_close(weights.sum(2) / 4, torch.ones(2, 5, dtype=torch.float64))
    ratio = math.exp(hardness * float(keys[1, 0] @ keys[1, 2] - keys[1, 0] @ keys[1, 3]))
    assert float(weights[1, 0, 2] / weights[1, 0, 3]) == pytest.approx(ratio)


def by_hand(q: Tensor, k: Tensor, hardness: float, temperature: float, mode: Mode) -> Tensor:
    """mean_i of the logarithm of a plain sum, place by place."""
    values = []
    for n in range(q.shape[0]):
        for i in range(q.shape[1]):
            others = [j for j in range(q.shape[1]) if j != i]
            likeness = [float(k[n, i] @ k[n, j]) for j in others]
            positive = q[n, i] @ k[n, i]
            if mode == "code":
                weights = [math.exp((s - max(likeness)) / hardness) for s in likeness]
                terms = [
                    (w * (q[n, i] @ k[n, j]) - positive) / temperature for w, j in zip(weights, others, strict=True)
                ]
                terms.append((-10 - positive) / temperature)
                total = torch.stack(terms).exp().sum()
            else:
                weights = [math.exp(hardness * s) for s in likeness]
                mean = sum(weights) / len(weights)
                terms = [((q[n, i] @ k[n, j]) - positive) / temperature for j in others]
                total = sum(w / mean * t.exp() for w, t in zip(weights, terms, strict=True))  # type: ignore[assignment]
            values.append(total.log())
    return torch.stack(values).mean()


@pytest.mark.parametrize("mode", ["code", "paper"])
@pytest.mark.parametrize("hardness", [0.5, 5.0])
def test_hard_negative_contrast_by_hand(mode: Mode, hardness: float) -> None:
    q, k = rows(2, 4, 5, seed=1).requires_grad_(), rows(2, 4, 5, seed=2)
    found, expected = hard_negative_contrast(q, k, hardness, 0.3, mode), by_hand(q, k, hardness, 0.3, mode)
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-9)
    gradients = [torch.autograd.grad(value, q)[0] for value in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_the_gradient_is_that_of_the_published_code() -> None:
    """There exp(v - sg(v)) is optimised, v the logarithm of each place's sum: always 1, but with the gradient of v."""
    q, k = rows(2, 6, 5, seed=1).requires_grad_(), rows(2, 6, 5, seed=2)
    weights = hard_negative_weights(k, 10.0)
    own = torch.eye(6, dtype=torch.bool)
    likeness = (weights * (q @ k.transpose(1, 2))).masked_fill(own, -10.0)
    v = ((likeness - (q * k).sum(2, keepdim=True)) / 0.07).logsumexp(2)
    published = torch.exp(v - v.detach()).mean()
    assert float(published.detach()) == 1
    found = torch.autograd.grad(hard_negative_contrast(q, k, 10.0), q)[0]
    torch.testing.assert_close(found, torch.autograd.grad(published, q)[0])


def test_without_hardness_both_modes_are_decoupled_nce() -> None:
    """Weights of 1: PatchNCE whose positive is not in the sum."""
    q, k = rows(1, 6, 5, seed=1), rows(1, 6, 5, seed=2)
    likeness = (q @ k.transpose(1, 2))[0]
    terms = [
        math.log(sum(math.exp(float(likeness[i, j] - likeness[i, i]) / 0.3) for j in range(6) if j != i))
        for i in range(6)
    ]
    assert float(hard_negative_contrast(q, k, 1e9, 0.3, "code")) == pytest.approx(sum(terms) / 6, abs=1e-6)
    assert float(hard_negative_contrast(q, k, 1e-9, 0.3, "paper")) == pytest.approx(sum(terms) / 6, abs=1e-6)


@pytest.mark.parametrize("loss", [patch_nce, semantic_relation, lambda q, k: hard_negative_contrast(q, k, 10.0)])
def test_keys_stand_still_and_queries_move(loss: object) -> None:
    q, k = rows(2, 4, 5, seed=1).requires_grad_(), rows(2, 4, 5, seed=2).requires_grad_()
    loss(q, k).backward()  # type: ignore[operator]
    assert k.grad is None
    assert q.grad is not None
    assert float(q.grad.abs().max()) > 0
