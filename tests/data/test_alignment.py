"""Faces come to lie where they should, however they were photographed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distilgan.data.alignment import EYES_AT, MOUTH_AT, align, estimated_yaw, roll, similarity

FACE = np.array([[43.0, 40], [85, 40], [64, 70], [46, 88], [82, 88]])


def moved(scale: float, degrees: float, shift: tuple[float, float]) -> np.ndarray:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return scale * FACE @ np.array([[c, -s], [s, c]]).T + np.asarray(shift)


@settings(deadline=None)
@given(
    scale=st.floats(0.2, 8), degrees=st.floats(-170, 170), x=st.floats(-500, 500), y=st.floats(-500, 500),
    size=st.sampled_from([32, 64, 128]),
)  # fmt: skip
def test_eyes_and_mouth_come_to_their_places(scale: float, degrees: float, x: float, y: float, size: int) -> None:
    points = moved(scale, degrees, (x, y))
    assert math.degrees(roll(points)) == pytest.approx(degrees, abs=1e-6)
    placed = similarity(points, size).forward(points)
    np.testing.assert_allclose(placed[:2].mean(0), [size / 2, EYES_AT * size], atol=1e-6)
    np.testing.assert_allclose(placed[3:].mean(0), [size / 2, MOUTH_AT * size], atol=1e-6)
    np.testing.assert_allclose(similarity(placed, size).forward(placed), placed, atol=1e-6)  # once is enough
    np.testing.assert_allclose(similarity(points, size).backward(placed), points, atol=1e-5)


def spots(points: np.ndarray, size: int, radius: float) -> torch.Tensor:
    """A black photograph with a white spot at each landmark."""
    rows, columns = np.mgrid[:size, :size] + 0.5
    picture = np.zeros((size, size))
    for x, y in points:
        picture = np.maximum(picture, np.exp(-(((columns - x) / radius) ** 2) - ((rows - y) / radius) ** 2))
    return torch.from_numpy((picture * 255).astype(np.uint8)).expand(3, -1, -1).contiguous()


@pytest.mark.parametrize(("scale", "degrees"), [(3.0, 0.0), (2.0, 25.0), (0.7, -40.0)])
def test_pixels_go_where_landmarks_go(scale: float, degrees: float) -> None:
    points = moved(scale, degrees, (150, 120))
    photograph = spots(points, 640, 3 * scale)
    aligned = align(photograph, points, 128)
    rows, columns = np.mgrid[:128, :128] + 0.5
    for x, y in aligned.landmarks:
        near = np.hypot(columns - x, rows - y) < 8
        weight = aligned.picture[0].numpy() * near
        centre = (weight * columns).sum() / weight.sum(), (weight * rows).sum() / weight.sum()
        np.testing.assert_allclose(centre, (x, y), atol=0.25)
    assert aligned.scale == pytest.approx(1 / scale)


def test_an_aligned_face_is_not_resampled() -> None:
    picture = torch.randint(0, 256, (3, 128, 128), dtype=torch.uint8)
    assert align(picture, FACE, 128).picture is picture


def test_beyond_the_border_the_last_pixels_are_repeated() -> None:
    picture = torch.full((3, 100, 100), 9, dtype=torch.uint8)
    aligned = align(picture, FACE - 30, 128)
    assert 0.2 < aligned.outside < 0.9
    assert aligned.picture.unique().tolist() == [9]


@pytest.mark.parametrize(
    ("points", "message"),
    [(FACE + 60, r"landmark \(145, 100\) lies outside the picture of 128 x 128 px"), (FACE * 0 + 5, "in one place")],
)
def test_landmarks_of_no_face(points: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        align(torch.zeros(3, 128, 128, dtype=torch.uint8), points, 64)


@pytest.mark.parametrize("yaw", [-90, -60, -20, 0, 35, 75, 90])
def test_the_yaw_of_a_head_by_the_book(yaw: float) -> None:
    a = math.radians(yaw)
    points = FACE.copy()
    points[0, 0], points[1, 0] = 64 - 0.435 * 48 * math.cos(a), 64 + 0.435 * 48 * math.cos(a)
    points[2, 0] = 64 + 0.40 * 48 * math.sin(a)
    assert estimated_yaw(points) == pytest.approx(yaw, abs=1e-6)
