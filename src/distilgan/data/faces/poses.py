"""Sets of people photographed from thirteen sides at once, as Multi-PIE was: for learning to turn faces to the front.

A recording is one moment of one person: expression, gaze and background. Under each of its lights all cameras take a picture;
the one in front of the person is the frontal partner of the others. Lights and gaze stay with the person, so they turn with the
face when the camera moves. Every picture is aligned (see `data.alignment`) by landmarks that are known exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from distilgan.data.alignment import roll
from distilgan.data.face_table import TABLE, FaceRow, write_table
from distilgan.data.faces.head import Head
from distilgan.data.faces.identity import Capture, Identity, sample_capture, sample_identity
from distilgan.data.faces.mesh import Array
from distilgan.data.faces.model import MANIFEST, check_size, head_model
from distilgan.data.multipie import CAMERAS, FRONTAL, PictureName
from distilgan.data.rendered_sets import claim, pack, run_jobs, save_picture
from distilgan.errors import UserError
from distilgan.files import locked

RENDERER = 1
"""Changes whenever the same seed gives another picture."""

LIGHTS = 19
"""Light 00 has no flash; 01 to 18 stand around the person, from one side to the other."""
STEPS = (15, 30, 45, 90)
_TILT = 5.0  # deviation of a camera's height, degrees


@dataclass(frozen=True)
class PoseSet:
    """What a set holds. Pictures do not depend on how many people, moments and cameras there are, but on `lights`.

    Args:
        identities: people, numbered from `first`. recordings: moments of each. lights: of each recording, drawn from the 19.
        step: degrees from camera to camera; 15: all 13. size: pixels.
    """

    identities: int
    first: int = 1
    recordings: int = 1
    lights: int = 1
    step: int = 15
    size: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        check_size(self.size)
        for name, low, high in (
            ("identities", 1, 100_000), ("first", 1, 900_000), ("recordings", 1, 99), ("lights", 1, LIGHTS),
        ):  # fmt: skip
            if not low <= getattr(self, name) <= high:
                raise UserError(f"{name}={getattr(self, name)}: must be {low} to {high:,}")
        if self.step not in STEPS:
            raise UserError(f"step={self.step}: cameras stand {', '.join(map(str, STEPS))} degrees apart")

    @property
    def cameras(self) -> dict[str, int]:
        """Codes and angles."""
        return {code: yaw for code, yaw in CAMERAS.items() if yaw % self.step == 0}

    @property
    def pictures(self) -> int:
        return self.identities * self.recordings * self.lights * len(self.cameras)


def render_poses(out: Path, what: PoseSet, workers: int = 1, progress: Callable[[int], None] | None = None) -> Path:
    """Render a set to the folder or .zip `out`, with pairs.csv; pictures of an unfinished `out` are kept.

    Raises:
        UserError: an `out` that holds another set.
    """
    manifest: dict[str, object] = {
        "generator": "distilgan poses",
        "renderer": RENDERER,
        **{name: getattr(what, name) for name in ("identities", "first", "recordings", "lights", "size", "seed")},
        **({"step": what.step} if what.step != PoseSet.step else {}),
        "licence": "CC0-1.0",
    }
    folder = claim(out, manifest, growing="identities", file=MANIFEST)
    with locked(folder):
        return _render(out, folder, what, workers, progress)


def _render(out: Path, folder: Path, what: PoseSet, workers: int, progress: Callable[[int], None] | None) -> Path:
    people = range(what.first, what.first + what.identities)
    jobs = [(folder, what, i, r) for i in people for r in range(1, what.recordings + 1)]
    tell = None if progress is None else lambda rows: progress(len(rows))
    rows = [row for found in run_jobs(_render_recording, jobs, workers, 1, tell) for row in found]
    write_table(folder / TABLE, rows)
    if out.suffix == ".zip":
        pack(folder, out, [MANIFEST, TABLE, *(row.profile for row in rows)])
    return out


def light_of(recording: Capture, code: int, rng: np.random.Generator) -> Capture:
    """The recording under light `code`, whose direction is the person's: x to the subject's left, y up, z ahead."""
    if code == 0:
        return replace(recording, light=(0.0, 0.5, 0.866), light_strength=0.45, ambient_strength=0.75)
    azimuth = np.radians(-85 + 10 * (code - 1) + rng.normal(0, 2))
    elevation = np.radians((12, 38)[code % 2] + rng.normal(0, 2))
    direction = (np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation))
    x, y, z = map(float, direction)
    return replace(recording, light=(x, y, z))


def seen_by(recording: Capture, yaw: float, pitch: float, roll: float = 0.0) -> Capture:
    """The recording as a camera sees it from which the head is turned, degrees."""
    from distilgan.data.faces.render import rotation

    turned = replace(recording, yaw=yaw, pitch=pitch, roll=roll)
    light = rotation(turned) @ np.asarray(recording.light, np.float32)
    # The renderer lets eyes follow the camera by this much; here they look where the person looks.
    gaze = (recording.gaze[0] + 0.8 * yaw, recording.gaze[1] + 0.8 * pitch)
    x, y, z = map(float, light)
    return replace(turned, light=(x, y, z), gaze=gaze)


def landmarks_of(head: Head) -> Array:
    """Eyes, nose tip, mouth corners on the head's surface, metres [5, 3], in the order in which a frontal picture has them."""
    front = np.asarray([0, 0, head.eyes.radius], np.float32)
    at = head.landmarks
    points = [at["eye_right"] + front, at["eye_left"] + front, at["nose"], at["mouth_right"], at["mouth_left"]]
    return np.stack(points)


def _render_recording(job: tuple[Path, PoseSet, int, int]) -> list[FaceRow]:
    """Pictures and rows of one recording, all lights and cameras."""
    folder, what, number, recording = job
    model = head_model()  # says which package is missing, before render.py is read
    from distilgan.data.faces.render import Frame, photograph, rays, rotation

    # The first number tells the streams apart; people are numbered from 1, as numpy takes missing numbers for 0.
    identity: Identity = sample_identity(np.random.default_rng([what.seed, 1, number]))
    rng = np.random.default_rng([what.seed, 2, number, recording])
    moment = replace(sample_capture(rng), yaw=0.0, pitch=0.0, roll=0.0)
    head = model.build(identity, moment)
    points, rows = landmarks_of(head), []
    for code in sorted(rng.permutation(LIGHTS)[: what.lights].tolist()):
        lit = light_of(moment, code, rng)
        front = PictureName(f"{number:03d}", "01", f"{recording:02d}", FRONTAL, f"{code:02d}")
        for camera, yaw in what.cameras.items():
            own = np.random.default_rng([what.seed, 3, number, recording, code, yaw + 90])
            pitch = 0.0 if camera == FRONTAL else float(np.clip(own.normal(0, _TILT), -2.5 * _TILT, 2.5 * _TILT))
            capture = seen_by(lit, yaw, pitch)
            level = np.degrees(roll(Frame.aligned(points @ rotation(capture).T).project(points @ rotation(capture).T)))
            capture = seen_by(lit, yaw, pitch, -level)
            turned = points @ rotation(capture).T
            frame = Frame.aligned(turned)
            name = replace(front, camera=camera)
            path = folder / _path(name)
            if not path.exists():
                picture = photograph(model, head, identity, capture, what.size, rays(what.size), own, frame)
                save_picture(picture, path)
            landmarks = frame.project(turned) * what.size
            rows.append(
                FaceRow(_path(name), _path(front), f"{what.seed}-{number:03d}", yaw, landmarks.round(2).tolist())
            )
    return rows


def _path(name: PictureName) -> str:
    return f"{name.subject}/{name}.webp"
