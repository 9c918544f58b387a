"""The latent-direction loss, with a test for each bug of the published codes."""

from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distilgan.losses.latent_direction import (
    cross_view_similarity,
    latent_offsets,
    sefa_directions,
    similarity_divergence,
)


def test_directions_are_sorted_orthonormal_eigenvectors() -> None:
    weights = [torch.randn(20, 16), torch.randn(30, 16)]
    found = sefa_directions(weights, 5).double()
    torch.testing.assert_close(found @ found.t(), torch.eye(5, dtype=torch.float64), atol=1e-6, rtol=0)
    a = torch.nn.functional.normalize(torch.cat(weights).double(), dim=1)
    gram = a.t() @ a
    values = (found @ gram @ found.t()).diagonal()
    assert bool((values[:-1] >= values[1:]).all())
    torch.testing.assert_close(found @ gram, values[:, None] * found, atol=1e-5, rtol=1e-5)
    largest = torch.linalg.eigvalsh(gram).flip(0)[:5]
    torch.testing.assert_close(values, largest, atol=1e-5, rtol=1e-5)


def test_a_known_direction_is_found() -> None:
    """Rows that all point along one axis, but for small noise."""
    axis = torch.nn.functional.normalize(torch.randn(1, 8), dim=1)
    weights = axis * torch.randn(40, 1).sign() * torch.rand(40, 1).add(1) + 0.01 * torch.randn(40, 8)
    assert abs(float(sefa_directions([weights], 1) @ axis.t())) > 0.999


def test_offsets_have_the_drawn_lengths_and_directions() -> None:
    directions = torch.randn(4, 6)
    length = torch.tensor([1.0, -2.0, 0.5])
    offsets = latent_offsets(directions, torch.tensor([3, 0, 3]), length, step=5.0)
    torch.testing.assert_close(offsets.norm(dim=1), 5 * length.abs())
    cosine = torch.nn.functional.cosine_similarity(offsets, directions[[3, 0, 3]])
    torch.testing.assert_close(cosine, length.sign())


def test_similarity_by_hand() -> None:
    first = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    second = torch.tensor([[1.0, 1.0], [-3.0, 0.0]])
    expected = torch.tensor([[[math.sqrt(0.5), -1.0], [math.sqrt(0.5), 0.0]]])
    torch.testing.assert_close(cross_view_similarity(first, second, group=2), expected)


def test_groups_survive_dealing_out_over_processes() -> None:
    """Two processes with every second sample form the groups that one process forms."""
    first, second = torch.randn(2, 8, 5)
    whole = cross_view_similarity(first, second, group=4)
    shares = [cross_view_similarity(first[p::2], second[p::2], group=4) for p in (0, 1)]
    torch.testing.assert_close(whole, torch.cat(shares))


def test_divergence_by_hand() -> None:
    teacher = {"a": (torch.eye(2), torch.eye(2))}
    student = {"a": (torch.eye(2), torch.ones(2, 2))}
    p = torch.softmax(torch.tensor([1.0, 0.0]), 0)
    q = torch.tensor([0.5, 0.5])
    expected = float((p * (p / q).log()).sum())
    assert math.isclose(float(similarity_divergence(teacher, student, group=2)), expected, rel_tol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(2, 5), st.floats(0.2, 5))
def test_never_negative_and_zero_for_equal_features(groups: int, group: int, temperature: float) -> None:
    n = groups * group
    torch.manual_seed(n)
    features = {name: (torch.randn(n, 3, 2, 2), torch.randn(n, 3, 2, 2)) for name in "ab"}
    other = {name: (torch.randn(n, 7, 2, 2), torch.randn(n, 7, 2, 2)) for name in "ab"}
    assert abs(float(similarity_divergence(features, features, group, temperature))) < 1e-6
    assert float(similarity_divergence(features, other, group, temperature)) >= -1e-7


def test_gradient_is_zero_when_student_equals_teacher() -> None:
    views = torch.randn(2, 6, 3, 4, 4)
    student = views.clone().requires_grad_(True)
    similarity_divergence({"a": (views[0], views[1])}, {"a": (student[0], student[1])}, group=6).backward()
    assert student.grad is not None
    assert float(student.grad.abs().max()) < 1e-7
