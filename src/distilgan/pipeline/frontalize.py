"""Turning the faces of photographs to the front: from files to files, with everything shown that was done on the way."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from distilgan.data.alignment import CUT_OFF, Array, align, estimated_yaw
from distilgan.data.archives import EXTENSIONS, files_below, is_hidden
from distilgan.data.face_rows import decoded
from distilgan.data.face_table import TABLE, NoLandmarks, Points, read_landmarks
from distilgan.data.grid import picture_grid
from distilgan.data.images import complaint, fit_square, is_grey, pixels_of, to_float, to_rgb8, to_uint8
from distilgan.errors import UserError
from distilgan.evaluation.faces.frontalizers import Frontalizer, OnnxFrontalizer
from distilgan.files import write_atomic
from distilgan.networks.tpgan import PATCHES, crop, patch_size, template
from distilgan.perception.mtcnn import FaceDetector, installed
from distilgan.runs import is_run

Provider = Callable[[Path, Tensor], "Array | None"]
_SHOWN = 192  # px of a face in the side-by-side picture
_LEAST = 8  # px of a crop's side
_ENLARGED = 1.5  # times, from which on it is said
_ORIENTATION = 0x0112  # EXIF
REPORT = "faces.csv"


@dataclass(frozen=True)
class Turned:
    """What became of a photograph.

    Args:
        yaw: degrees, as its landmarks say; None without them. notes: what a person should know of it. failed: nothing was made.
    """

    name: str
    yaw: float | None = None
    notes: tuple[str, ...] = ()
    failed: bool = False


def photographs(source: Path) -> list[tuple[str, Path]]:
    """(name, path) of a picture, or of all below a folder.

    Raises:
        UserError: nothing there, or nothing that is named like a picture.
    """
    if source.is_file():
        return [(source.name, source)]
    if not source.is_dir():
        raise UserError(f"{source}: no such file or folder")
    names = [n for n in files_below(source) if Path(n).suffix.lower() in EXTENSIONS and not is_hidden(n)]
    if not names:
        raise UserError(f"{source}: holds no images (looked for {', '.join(sorted(EXTENSIONS))})")
    return [(name, source / name) for name in names]


def provider(source: Path, table: Path | None, aligned: bool, detect: bool) -> Provider:
    """Where landmarks come from: a table, the template (None), or a detector; by default whichever is there, in this order.

    Raises:
        UserError: several are asked for, or none is to be had.
    """
    if sum((table is not None, aligned, detect)) > 1:
        raise UserError("--landmarks, --aligned and --detect: give one of them")
    if table is not None:
        try:
            return _from_table(table, _landmarks_in(table), source)
        except NoLandmarks as error:
            raise UserError(str(error)) from error
    beside = (source if source.is_dir() else source.parent) / TABLE
    if not (aligned or detect) and beside.is_file():
        with suppress(NoLandmarks):  # a table of pairs alone
            return _from_table(beside, _landmarks_in(beside), source)
    if aligned:
        return lambda path, pixels: None
    if detect or installed():
        detector = FaceDetector()
        return lambda path, pixels: _found(detector, pixels)
    raise UserError(
        f"{source}: where are eyes, nose and mouth? Give --landmarks TABLE.csv, --aligned for crops that are aligned already, or "
        "install a detector: pip install --no-deps facenet-pytorch"
    )


def _landmarks_in(table: Path) -> dict[str, Points]:
    try:
        return read_landmarks(decoded(table.read_bytes()))
    except NoLandmarks as error:
        raise NoLandmarks(f"{table}: {error}") from error
    except OSError as error:
        raise UserError(f"{table}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise UserError(f"{table}: {error}") from error


def _from_table(table: Path, rows: dict[str, Points], source: Path) -> Provider:
    """By the path that a row names as seen from the table; else by the file's name, if one picture and one absent row have it."""
    by_path = {(table.parent / name).resolve(): points for name, points in rows.items()}
    pictures = Counter(path.name for _, path in photographs(source))
    absent = [path for path in by_path if not path.exists()]
    rest = Counter(path.name for path in absent)
    by_name = {p.name: by_path[p] for p in absent if rest[p.name] == 1 and pictures[p.name] == 1}

    def landmarks(path: Path, pixels: Tensor) -> Array:
        found = by_path.get(path.resolve()) or by_name.get(path.name)
        if found is None:
            raise ValueError(f"{table} has no landmarks for it")
        return np.asarray(found, np.float64)

    return landmarks


def _found(detector: FaceDetector, pixels: Tensor) -> Array:
    landmarks = detector.landmarks(pixels)
    if landmarks is None:
        raise ValueError("no face was found; profiles often are not: give their landmarks with --landmarks")
    return landmarks


def frontalize(
    turn: Frontalizer | OnnxFrontalizer, source: Path, out: Path, landmarks: Provider, yaws: tuple[float, float] | None
) -> Iterator[Turned]:
    """Write OUT/NAME.png, the face from the front, and OUT/NAME.steps.png, how it came about; at the end OUT/faces.csv.

    A picture that cannot be used is passed over, and said; what an earlier call made of it is removed.

    Args:
        yaws: the angles that the network learnt from; None: unknown.

    Raises:
        UserError: `out` lies among the photographs, or is a file or a run.
    """
    done: list[Turned] = []
    pictures = photographs(source)
    targets = _targets(source, out, pictures)
    out.mkdir(parents=True, exist_ok=True)
    try:
        for (name, path), files in zip(pictures, targets, strict=True):
            try:
                turned = _one(turn, name, path, files, landmarks, yaws)
            except ValueError as error:
                turned = Turned(name, notes=(str(error),), failed=True)
                for file in files:
                    file.unlink(missing_ok=True)
            done.append(turned)
            yield turned
    finally:  # also when a user stops it
        write_atomic(out / REPORT, _table(done).encode(errors="backslashreplace"))


def _targets(source: Path, out: Path, pictures: list[tuple[str, Path]]) -> list[tuple[Path, Path]]:
    """The two files of each photograph, none of which is one itself."""
    where = out.resolve()
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; name a folder")
    if is_run(out):
        raise UserError(f"{out}: is a run; name another folder")
    if source.is_dir() and where.is_relative_to(source.resolve()):
        raise UserError(f"{out}: lies in {source}, whose pictures are turned; name a folder outside it")
    bare = [str(Path(name).with_suffix("")) for name, _ in pictures]
    short = [(out / f"{stem}.png", out / f"{stem}.steps.png") for stem in bare]
    whole = [(out / f"{name}.png", out / f"{name}.steps.png") for name, _ in pictures]
    for targets in (short, whole):  # names with their endings where those without collide
        files = [file.resolve() for pair in targets for file in pair]
        if len(set(files)) == len(files) and not set(files) & {path.resolve() for _, path in pictures}:
            return targets
    raise UserError(f"{out}: results would have the names of photographs or of each other; name another folder")


def _one(
    turn: Frontalizer | OnnxFrontalizer, name: str, path: Path, targets: tuple[Path, Path], landmarks: Provider,
    yaws: tuple[float, float] | None,
) -> Turned:  # fmt: skip
    try:
        with Image.open(path) as image:
            rotated = image.getexif().get(_ORIENTATION, 1) != 1
            rgb = to_rgb8(image)
    except Exception as error:  # Pillow raises many kinds; all mean "not a usable image"
        raise ValueError(f"not a usable image ({complaint(error)})") from error
    pixels, size = pixels_of(rgb), turn.resolution
    points, notes, yaw = landmarks(path, pixels), [], None
    if rotated:
        notes.append("turned upright by its EXIF data, to which landmarks refer")
    if is_grey(pixels):
        notes.append("grey; the network learnt from colour")
    if points is None:
        _check_crop(rgb)
        enlarged = size / rgb.width
        face, at = pixels_of(fit_square(rgb, size)), template(size)
    else:
        aligned = align(pixels, points, size)
        if aligned.outside > CUT_OFF:
            raise ValueError(
                f"the face is cut off: {aligned.outside:.0%} of it lies beyond the border; give a picture with more around it"
            )
        if aligned.outside > 0.02:
            notes.append(f"{aligned.outside:.0%} of the face lies beyond the border and is filled in")
        enlarged = aligned.scale
        face, at = aligned.picture, torch.from_numpy(aligned.landmarks).float()
        yaw = estimated_yaw(aligned.landmarks)
        if yaws is not None and not yaws[0] - 10 <= yaw <= yaws[1] + 10:
            notes.append(f"turned by about {yaw:.0f} degrees; the network learnt from {yaws[0]:g} to {yaws[1]:g}")
    if enlarged > _ENLARGED:
        notes.append(f"enlarged {enlarged:.1f} times")
    frontal = to_uint8(turn(to_float(face)[None], at[None]))[0]
    targets[0].parent.mkdir(parents=True, exist_ok=True)
    picture_grid([frontal[None]]).save(targets[0])
    steps(rgb, face, at, frontal).save(targets[1])
    return Turned(name, yaw, tuple(notes))


def steps(photograph: Image.Image, face: Tensor, landmarks: Tensor, frontal: Tensor) -> Image.Image:
    """photograph | aligned face with its landmarks and patches | frontal face, side by side."""
    size = face.shape[-1]
    scale = max(1, round(_SHOWN / size))
    tall = size * scale
    small = photograph.copy()
    small.thumbnail((2 * tall, tall), Image.Resampling.LANCZOS)

    def enlarged(pixels: Tensor) -> Image.Image:
        return Image.fromarray(pixels.permute(1, 2, 0).numpy()).resize((tall, tall), Image.Resampling.BICUBIC)

    marked = enlarged(face)
    draw = ImageDraw.Draw(marked)
    for name in PATCHES:
        rows, columns = _where(landmarks, name, size)
        draw.rectangle(
            (columns[0] * scale, rows[0] * scale, columns[1] * scale - 1, rows[1] * scale - 1), outline=(255, 210, 0)
        )
    for x, y in (landmarks * scale).tolist():
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=(0, 220, 60))
    parts, gap = [small, marked, enlarged(frontal)], 4
    canvas = Image.new("RGB", (sum(p.width for p in parts) + gap * 2, tall), "white")
    left = 0
    for part in parts:
        canvas.paste(part, (left, (tall - part.height) // 2))
        left += part.width + gap
    return canvas


def _where(landmarks: Tensor, name: str, size: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """First row and the one after the last, and so the columns, of a patch inside the picture."""
    grid = torch.arange(size, dtype=torch.float32)
    rows, columns = (
        crop(v[None, None], landmarks[None], name)[0, 0]
        for v in (grid[:, None].expand(size, size), grid.expand(size, size))
    )
    assert tuple(rows.shape[::-1]) == patch_size(name, size)
    return (int(rows.min()), int(rows.max()) + 1), (int(columns.min()), int(columns.max()) + 1)


def _check_crop(rgb: Image.Image) -> None:
    if rgb.width != rgb.height:
        raise ValueError(
            f"is {rgb.width} x {rgb.height} px; aligned crops are square. Of other photographs give --landmarks or --detect"
        )
    if rgb.width < _LEAST:
        raise ValueError(f"is {rgb.width} px wide; no face can be seen in it")


def _table(done: list[Turned]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "yaw", "made", "notes"])
    for t in done:
        yaw = "" if t.yaw is None or math.isnan(t.yaw) else f"{t.yaw:.0f}"
        writer.writerow([t.name, yaw, "no" if t.failed else "yes", "; ".join(t.notes)])
    return text.getvalue()
