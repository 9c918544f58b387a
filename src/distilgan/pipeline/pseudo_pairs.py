"""Pseudo-pairs: photos beside what a teacher makes of them, filtered, as a folder to learn from."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw
from pydantic import TypeAdapter
from torch import Tensor

from distilgan.data.archives import stems
from distilgan.data.grid import picture_grid
from distilgan.data.images import pixels_of, read_picture
from distilgan.data.pair_filter import (
    Figures,
    Limits,
    least_agreement,
    nearness,
    segmentation_figures,
    shifts,
    verdicts,
)
from distilgan.data.translation_pairs import MANIFEST, PHOTO, STYLE
from distilgan.errors import UserError
from distilgan.evaluation.translation.translators import AnyTranslator
from distilgan.files import locked, new_file, write_atomic
from distilgan.pipeline.photographs import LARGEST, check_folder, photographs

ABOUT, SHEET = "pairs.json", "borderline.png"
_SHEET_PAIRS, _SHEET_SIDE = 24, 128
_WRITTEN_EVERY = 20  # pairs
Scores = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Made:
    """What a call did."""

    kept: int
    left_out: int
    unusable: dict[str, str]


def make_pairs(
    teacher: AnyTranslator, photos: Path, out: Path, *, size: int, limits: Limits, segment: Scores | None = None,
    segmenter: str | None = None, progress: Callable[[int], None] | None = None,
) -> Made:  # fmt: skip
    """Write OUT/photo/NAME.png and OUT/style/NAME.png for each photo, manifest.csv with figures and verdicts, and a contact sheet
    of the pairs that are nearest to a limit.

    The same call goes on where it stopped; with other `limits` only the verdicts change.

    Args:
        size: of the shorter side to which photos are reduced. segment: scores of the classes of a picture; `segmenter` names it.

    Raises:
        UserError: no photos, an `out` of another teacher, size or segmenter, or one that holds something else.
    """
    pictures = photographs(photos)
    names = stems([name for name, _ in pictures])
    about = {
        "teacher": teacher.name, "teacher_sha256": teacher.sha256, "photos": str(photos.resolve()), "size": size,
        "segmenter": segmenter,
    }  # fmt: skip
    check_folder(photos, out)
    _claim(out, about)
    with locked(out):
        known = _read_figures(out)
        unusable: dict[str, str] = {}
        found: dict[str, Figures] = {}
        try:
            for stem, (name, path) in zip(names, pictures, strict=True):
                files = out / PHOTO / f"{stem}.png", out / STYLE / f"{stem}.png"
                if stem in known and all(f.is_file() for f in files):
                    found[stem] = known[stem]
                else:
                    try:
                        found[stem] = _make_one(teacher, path, files, size, segment)
                    except ValueError as error:
                        unusable[name] = str(error)
                    if len(found) % _WRITTEN_EVERY == 0:
                        _write(out, found, known, limits)
                if progress:
                    progress(1)
        except BaseException:  # also when a user stops it
            _write(out, found, known, limits)
            raise
        if not found:
            first = next(iter(unusable.items()))
            raise UserError(f"{photos}: not one of its images can be used (the first: {first[0]}: {first[1]})")
        reasons = _write(out, found, {}, limits)
        _contact_sheet(out, found, reasons, limits)
    kept = sum(not why for why in reasons.values())
    return Made(kept, len(found) - kept, unusable)


def _claim(out: Path, about: dict[str, object]) -> None:
    path = out / ABOUT
    if path.is_file():
        try:
            there = TypeAdapter(dict[str, Any]).validate_json(path.read_bytes())
        except ValueError as error:
            raise UserError(f"{path}: damaged; choose another folder") from error
        for key, value in about.items():
            if key != "teacher" and there.get(key) != value:
                what = key.removesuffix("_sha256")
                raise UserError(f"{out}: made with other {what} ({there.get(what)}); choose another folder")
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: holds something else; choose another folder")
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(about, indent=1) + "\n")


def _make_one(
    teacher: AnyTranslator, path: Path, files: tuple[Path, Path], size: int, segment: Scores | None
) -> Figures:
    photo = pixels_of(_reduced(read_picture(path, LARGEST), size))
    translation = teacher.picture(photo)
    for pixels, file in zip((photo, translation), files, strict=True):
        file.parent.mkdir(parents=True, exist_ok=True)
        with new_file(file) as partial:
            Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()).save(partial, "PNG")
    luminance, colour = shifts(photo, translation)
    if segment is None:
        return Figures(luminance, colour)
    return Figures(luminance, colour, *segmentation_figures(segment(photo), segment(translation)))


def _reduced(image: Image.Image, size: int) -> Image.Image:
    shorter = min(image.size)
    if shorter <= size:
        return image
    width, height = (max(size, round(side * size / shorter)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


# -- the manifest ------------------------------------------------------------------------------------------------------

_FIGURES = [f.name for f in fields(Figures)]


def _write(out: Path, found: dict[str, Figures], known: dict[str, Figures], limits: Limits) -> dict[str, str]:
    """One line a pair; those of `known` that were not reached yet stay."""
    pairs = {**known, **found}
    reasons = verdicts(pairs, limits)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", *_FIGURES, "kept", "why_not"])
    for name, pair in sorted(pairs.items()):
        figures = ["" if v is None else f"{v:.6g}" for v in asdict(pair).values()]
        writer.writerow([name, *figures, "no" if reasons[name] else "yes", reasons[name]])
    write_atomic(out / MANIFEST, text.getvalue())
    return reasons


def _read_figures(out: Path) -> dict[str, Figures]:
    path = out / MANIFEST
    if not path.is_file():
        return {}
    found = {}
    for row in csv.DictReader(io.StringIO(path.read_text(errors="replace"), newline="")):
        try:
            values = [float(row[f]) if row[f] else None for f in _FIGURES]
            luminance, colour, agreement, iou, entropy, classes = values
            assert luminance is not None
            assert colour is not None
            found[row["name"]] = Figures(
                luminance, colour, agreement, iou, entropy, None if classes is None else int(classes)
            )
        except (LookupError, TypeError, ValueError, AssertionError):  # a damaged line: the pair is made again
            continue
    return found


def _contact_sheet(out: Path, pairs: dict[str, Figures], reasons: dict[str, str], limits: Limits) -> None:
    """The pairs nearest to a limit, photo above translation, those left out marked."""
    cut = least_agreement(pairs, limits)
    nearest = sorted(pairs, key=lambda name: nearness(pairs[name], limits, cut))[:_SHEET_PAIRS]
    rows: list[Tensor] = []
    for start in range(0, len(nearest), 8):
        part = nearest[start : start + 8]
        for side in (PHOTO, STYLE):
            rows.append(
                torch.stack([_thumbnail(out / side / f"{name}.png", side == STYLE and reasons[name]) for name in part])
            )
    picture_grid(rows).save(out / SHEET)


def _thumbnail(path: Path, why: str | bool) -> Tensor:
    with Image.open(path) as image:
        small = image.convert("RGB")
    side = min(small.size)
    left, top = (small.width - side) // 2, (small.height - side) // 2
    small = small.crop((left, top, left + side, top + side)).resize(
        (_SHEET_SIDE, _SHEET_SIDE), Image.Resampling.LANCZOS
    )
    if why:
        draw = ImageDraw.Draw(small)
        draw.rectangle((0, 0, _SHEET_SIDE - 1, _SHEET_SIDE - 1), outline=(230, 30, 30), width=3)
        draw.rectangle((0, _SHEET_SIDE - 14, _SHEET_SIDE - 1, _SHEET_SIDE - 1), fill=(230, 30, 30))
        draw.text((4, _SHEET_SIDE - 13), str(why), fill=(255, 255, 255))
    return pixels_of(small)
