"""Bringing a face to where networks expect it, by its landmarks.

The eyes' centre comes to lie on the picture's middle column at 40 of 128 px from the top, the mouth's centre 48 px below it.
Source: the crops of TP-GAN and Light CNN, which level the line between the eyes instead. For a face seen from the front that is the
same. Seen from the side that line is short, and leans with the camera's height rather than with the head: at a yaw of 75 degrees
a camera 10 degrees too high would turn the face by 33.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

EYES_AT = 40 / 128
"""Height of the eyes' centre, as share of the picture's side from its top."""
MOUTH_AT = 88 / 128
"""And of the mouth's."""
CUT_OFF = 0.25
"""Share of an aligned face that may lie beyond the photograph's border."""
_CROSSED = (
    0.2  # distance by which left and right may be exchanged, in distances from eyes to mouth; 0.02 in rendered profiles
)
_FLAT = 0.25  # of the length that `estimated_yaw` takes the direction of: 0 for points on one line, 0.5 and up in rendered faces
_LEAST = 8  # px of a picture's side
_APART = (
    0.27  # distance of the eyes, in distances from eyes to mouth, from which on they are levelled: yaw up to about 65°
)
_EYES_APART, _NOSE_AHEAD = 0.87, 0.40  # distances of a head, in distances from eyes to mouth
_UNMOVED = 0.3  # pixels: a face as near as this to its place is not resampled
_FINEST = 8  # samples of each pixel along a side, at most

Array = npt.NDArray[np.float64]


def check_size(width: int, height: int) -> None:
    """Raise ValueError for a picture in which no face can be seen."""
    if min(width, height) < _LEAST:
        raise ValueError(f"is {width} x {height} px; no face can be seen in it")


def check_crop(width: int, height: int) -> None:
    """Raise ValueError for a picture that cannot be an aligned face."""
    check_size(width, height)
    if width != height:
        raise ValueError(f"is {width} x {height} px; aligned faces are square, others need landmarks")


@dataclass(frozen=True)
class Aligned:
    """A face in its place.

    Args:
        picture: uint8 [3, R, R]. landmarks: in it, [5, 2]. outside: share of it that lay beyond the photograph's border, whose
            last pixels are repeated there. scale: its pixels a pixel of the photograph.
    """

    picture: Tensor
    landmarks: Array
    outside: float
    scale: float


@dataclass(frozen=True)
class Similarity:
    """p -> scale · R(angle) p + shift, from the photograph to the aligned picture; angle in radians."""

    scale: float
    angle: float
    shift: Array

    def forward(self, points: Array) -> Array:
        moved: Array = points @ self._matrix().T + self.shift
        return moved

    def backward(self, points: Array) -> Array:
        moved: Array = (points - self.shift) @ np.linalg.inv(self._matrix()).T
        return moved

    def _matrix(self) -> Array:
        c, s = math.cos(self.angle), math.sin(self.angle)
        return self.scale * np.array([[c, -s], [s, c]])


def roll(landmarks: Array) -> float:
    """Radians by which a head leans clockwise: those of the line from the eyes' centre to the mouth's. Landmarks [5, 2], y down."""
    x, y = landmarks[3:].mean(0) - landmarks[:2].mean(0)
    return math.atan2(-x, y)


def estimated_yaw(landmarks: Array) -> float:
    """Degrees by which a face is turned, positive to its own left, as its landmarks [5, 2] say.

    On a head the eyes are 0.87 of the distance from eyes to mouth apart, and the nose tip lies 0.40 of it before them: seen from
    the side the first shrinks with the cosine and the second appears with the sine. Both numbers are means over rendered heads.
    """
    ahead, apart = _turn(Similarity(1.0, -roll(landmarks), np.zeros(2)).forward(landmarks))
    return math.degrees(math.atan2(ahead, max(apart, 0.0)))


def _turn(level: Array) -> tuple[float, float]:
    """Sine and cosine of the yaw, as the landmarks of an upright head say."""
    eyes = level[:2].mean(0)
    drop = level[3:].mean(0)[1] - eyes[1]
    return (level[2, 0] - eyes[0]) / drop / _NOSE_AHEAD, (level[1, 0] - level[0, 0]) / drop / _EYES_APART


def similarity(landmarks: Array, resolution: int) -> Similarity:
    """How a face has to be moved.

    Raises:
        ValueError: landmarks that are those of no face, or with left and right exchanged.
    """
    eyes, mouth = landmarks[:2].mean(0), landmarks[3:].mean(0)
    drop = float(np.hypot(*(mouth - eyes)))
    if drop < 2:
        raise ValueError(
            "eyes and mouth are in one place; is the order left eye, right eye, nose, mouth's left, right?"
        )
    level = Similarity(1 / drop, -roll(landmarks), np.zeros(2)).forward(landmarks)
    for what, first, second in (("eyes", 0, 1), ("mouth corners", 3, 4)):
        if level[first, 0] - level[second, 0] > _CROSSED:
            raise ValueError(
                f"left and right {what} are exchanged in its landmarks: they are the picture's, not the person's"
            )
    if math.hypot(*_turn(level)) < _FLAT:
        raise ValueError(
            "eyes, nose and mouth lie on one line; is the order left eye, right eye, nose, mouth's left, right?"
        )
    move = Similarity((MOUTH_AT - EYES_AT) * resolution / drop, -roll(landmarks), np.zeros(2))
    return replace(move, shift=np.array([resolution / 2, EYES_AT * resolution]) - move.forward(eyes))


def align(photograph: Tensor, landmarks: Array, resolution: int) -> Aligned:
    """The face in an RGB photograph, uint8 [3, H, W], at [R, R]; landmarks [5, 2] as (x, y) in pixels from its top left corner.

    A face that is in its place already is cut to size only.

    Raises:
        ValueError: landmarks outside the photograph, or those of no face.
    """
    height, width = photograph.shape[1:]
    check_size(width, height)
    for x, y in landmarks:
        if not (0 <= x <= width and 0 <= y <= height):
            raise ValueError(f"landmark ({x:g}, {y:g}) lies outside the picture of {width} x {height} px")
    move = similarity(landmarks, resolution)
    whole = np.array([[0.0, 0.0], [width, 0.0], [0.0, height], [width, height]])
    if (height, width) == (resolution, resolution) and np.abs(move.forward(whole) - whole).max() < _UNMOVED:
        return Aligned(photograph, landmarks, 0.0, 1.0)
    finer = min(_FINEST, max(1, math.ceil(1 / move.scale)))
    at = (np.arange(resolution * finer) + 0.5) / finer
    grid = move.backward(np.stack(np.meshgrid(at, at), -1).reshape(-1, 2))
    outside = float(((grid < 0) | (grid > [width, height])).any(1).mean())
    # grid_sample's coordinates run from -1 to 1 over the picture, as do pixels' outer edges.
    where = (
        torch.from_numpy(grid / [width, height] * 2 - 1).float().reshape(1, resolution * finer, resolution * finer, 2)
    )
    sampled = F.grid_sample(photograph[None].float(), where, padding_mode="border", align_corners=False)
    picture = F.avg_pool2d(sampled, finer)[0].round().clamp(0, 255).to(torch.uint8)
    return Aligned(picture, move.forward(landmarks), outside, move.scale)
