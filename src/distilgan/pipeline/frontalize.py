"""Turning the faces of photographs to the front: from files to files, with everything shown that was done on the way."""

from __future__ import annotations

import csv
import io
import math
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from distilgan.data.alignment import CUT_OFF, Array, align, check_crop, estimated_yaw
from distilgan.data.face_rows import decoded
from distilgan.data.face_table import TABLE, NoLandmarks, Points, read_landmarks
from distilgan.data.grid import picture_grid
from distilgan.data.images import complaint, fit_square, is_grey, pixels_of, to_float, to_rgb8, to_uint8
from distilgan.errors import UserError
from distilgan.evaluation.faces.frontalizers import Frontalizer, OnnxFrontalizer
from distilgan.files import write_atomic
from distilgan.networks.tpgan import PATCHES, crop, patch_size, template
from distilgan.perception.mtcnn import FaceDetector, installed
from distilgan.pipeline.photographs import check_folder, photographs

Provider = Callable[[Path, Tensor], "Array | None"]
_SHOWN = 192  # px of a face in the side-by-side picture
_ENLARGED = 1.5  # times, from which on it is said
_ORIENTATION = 0x0112  # EXIF
REPORT = "faces.csv"
_COLUMNS = ("image", "yaw", "made", "result", "notes")
_LEFT, _RIGHT, _NOSE = (0, 220, 60), (60, 140, 255), (255, 60, 60)  # colours of landmarks


@dataclass(frozen=True)
class Turned:
    """What became of a photograph.

    Args:
        yaw: degrees, as its landmarks say; None without them. notes: what a person should know of it. failed: nothing was made.
        result: file of the frontal face, as seen from the folder of results.
    """

    name: str
    yaw: float | None = None
    notes: tuple[str, ...] = ()
    failed: bool = False
    result: str = ""


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
    """By the path that a row names, as seen from the table or from IN; else by the file's name, if one picture and one absent row
    have it."""
    pictures = photographs(source)
    given = {_key(path): path for _, path in pictures}
    places = (table.parent, source if source.is_dir() else source.parent)
    by_path, absent = dict[str, Points](), dict[str, list[Points]]()
    for name, points in rows.items():
        seen_from = [_key(place / name.replace("\\", "/")) for place in places]
        here = next((key for key in seen_from if key in given), None)
        if here is not None:
            by_path[here] = points
        elif not any(Path(key).exists() for key in seen_from):
            absent.setdefault(Path(seen_from[0]).name, []).append(points)
    alike = Counter(Path(key).name for key in given)
    by_name = {name: found[0] for name, found in absent.items() if len(found) == 1 and alike[name] == 1}

    def landmarks(path: Path, pixels: Tensor) -> Array:
        key = _key(path)
        found = by_path.get(key) or by_name.get(Path(key).name)
        if found is None:
            raise ValueError(f"{table} has no landmarks for it")
        return np.asarray(found, np.float64)

    return landmarks


def _key(path: Path) -> str:
    """One spelling of a path, whose letters systems compose differently."""
    return unicodedata.normalize("NFC", str(path.resolve()))


def _found(detector: FaceDetector, pixels: Tensor) -> Array:
    landmarks = detector.landmarks(pixels)
    if landmarks is None:
        raise ValueError("no face was found; profiles often are not: give their landmarks with --landmarks")
    return landmarks


def frontalize(
    turn: Frontalizer | OnnxFrontalizer, source: Path, out: Path, landmarks: Provider, yaws: tuple[float, float] | None
) -> Iterator[Turned]:
    """Write OUT/NAME.png, the face from the front, and OUT/NAME.steps.png, how it came about; at the end OUT/faces.csv.

    A picture that cannot be used is passed over, and said. What an earlier call made of these pictures is replaced, what it made of
    others stays; files that no call has made are never touched.

    Args:
        yaws: the angles that the network learnt from; None: unknown.

    Raises:
        UserError: `out` lies among the photographs, is a file or a run, or has other files by the names of results.
    """
    pictures = photographs(source)
    earlier = _earlier(out)
    targets = _targets(source, out, pictures, {file for t in earlier.values() for file in _files(out, t)})
    out.mkdir(parents=True, exist_ok=True)
    wanted = {file for files in targets for file in files}
    done: dict[str, Turned] = {}
    # A call that is killed has said which files are its own.
    planned = [
        Turned(name, notes=("not reached",), failed=True, result=_within(out, files))
        for (name, _), files in zip(pictures, targets, strict=True)
    ]
    _write(out, {**earlier, **{t.name: t for t in planned}})
    try:
        for (name, path), files in zip(pictures, targets, strict=True):
            stale = _files(out, earlier[name]) if name in earlier else ()
            for file in {*stale, *files} - (wanted - {*files}):
                file.unlink(missing_ok=True)
            try:
                turned = _one(turn, name, path, files, landmarks, yaws)
                turned = replace(turned, result=_within(out, files))
            except ValueError as error:
                turned = Turned(name, notes=(str(error),), failed=True)
            done[name] = turned
            yield turned
    finally:  # also when a user stops it
        taken = {t.result for t in done.values()} - {""}
        others = {name: t for name, t in earlier.items() if t.result not in taken}
        _write(out, {**others, **done})


def _files(out: Path, turned: Turned) -> tuple[Path, ...]:
    """What was made of a photograph."""
    return _pair(out, turned.result.removesuffix(".png")) if turned.result else ()


def _pair(out: Path, stem: str) -> tuple[Path, Path]:
    return out / f"{stem}.png", out / f"{stem}.steps.png"


def _within(out: Path, files: tuple[Path, Path]) -> str:
    return files[0].relative_to(out).as_posix()


def _targets(source: Path, out: Path, pictures: list[tuple[str, Path]], ours: set[Path]) -> list[tuple[Path, Path]]:
    """The two files of each photograph, none of which is one itself or anybody else's."""
    check_folder(source, out)
    stems = [str(Path(name).with_suffix("")) for name, _ in pictures]
    photos = {path.resolve() for _, path in pictures}
    while True:  # names with their endings where those without collide
        targets = [_pair(out, stem) for stem in stems]
        uses = Counter(file.resolve() for files in targets for file in files)
        bad = [any(uses[f.resolve()] > 1 or f.resolve() in photos for f in files) for files in targets]
        longer = [name if clash else stem for stem, clash, (name, _) in zip(stems, bad, pictures, strict=True)]
        if longer == stems:
            break
        stems = longer
    if any(bad):
        raise UserError(f"{out}: results would have the names of photographs; name another folder")
    for files in targets:
        for file in files:
            if file not in ours and file.exists():
                raise UserError(f"{file}: is there already, and no result of an earlier call; name another folder")
    return targets


def _one(
    turn: Frontalizer | OnnxFrontalizer, name: str, path: Path, targets: tuple[Path, Path], landmarks: Provider,
    yaws: tuple[float, float] | None,
) -> Turned:  # fmt: skip
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
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
        check_crop(*rgb.size)
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
    """photograph | aligned face with its landmarks and patches | frontal face, side by side.

    Landmarks on the picture's left are green, on its right blue, the nose's red.
    """
    size = face.shape[-1]
    scale = max(1, round(_SHOWN / size))
    tall = size * scale
    fit = min(2 * tall / photograph.width, tall / photograph.height)
    width, height = (max(1, round(side * fit)) for side in photograph.size)
    small = photograph.resize((width, height), Image.Resampling.LANCZOS)

    def enlarged(pixels: Tensor) -> Image.Image:
        return Image.fromarray(pixels.permute(1, 2, 0).numpy()).resize((tall, tall), Image.Resampling.BICUBIC)

    marked = enlarged(face)
    draw = ImageDraw.Draw(marked)
    for name in PATCHES:
        rows, columns = _where(landmarks, name, size)
        draw.rectangle(
            (columns[0] * scale, rows[0] * scale, columns[1] * scale - 1, rows[1] * scale - 1), outline=(255, 210, 0)
        )
    for (x, y), colour in zip((landmarks * scale).tolist(), (_LEFT, _RIGHT, _NOSE, _LEFT, _RIGHT), strict=True):
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=colour)
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


def _write(out: Path, done: dict[str, Turned]) -> None:
    """The list of what was made."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for t in done.values():
        yaw = "" if t.yaw is None or math.isnan(t.yaw) else f"{round(t.yaw)}"
        writer.writerow([t.name, yaw, "no" if t.failed else "yes", t.result, "; ".join(t.notes)])
    write_atomic(out / REPORT, text.getvalue().encode(errors="backslashreplace"))


def _earlier(out: Path) -> dict[str, Turned]:
    """What the folder's list says of earlier calls, by the photographs' names.

    Raises:
        UserError: the list is not of this kind.
    """
    path = out / REPORT
    if not path.is_file():
        return {}
    rows = list(csv.reader(io.StringIO(path.read_text(errors="replace"), newline="")))
    if not rows or tuple(rows[0]) != _COLUMNS or any(len(row) != len(_COLUMNS) for row in rows):
        raise UserError(f"{path}: is there already, and no list of an earlier call; name another folder")
    return {
        name: Turned(name, float(yaw) if yaw else None, (notes,) if notes else (), made != "yes", result)
        for name, yaw, made, result, notes in rows[1:]
    }
