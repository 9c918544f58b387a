"""Translating photos: from files to files of the same names and sizes."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from torch import Tensor

from distilgan.data.archives import EXTENSIONS
from distilgan.data.images import pixels_of, read_picture
from distilgan.errors import UserError
from distilgan.evaluation.translation.translators import AnyTranslator, Progress
from distilgan.files import new_file, write_atomic
from distilgan.pipeline.photographs import LARGEST, check_folder, photographs
from distilgan.pipeline.videos import VIDEOS

REPORT = "translated.csv"
_COLUMNS = ("image", "made", "result", "notes")
_WRITTEN = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
_QUALITY = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"quality": 95}}


@dataclass(frozen=True)
class Translated:
    """What became of a photo; `note` says why there is no result, `result` is its file as seen from the folder of results."""

    name: str
    result: str = ""
    note: str = ""


def translate_photos(
    translate: AnyTranslator, source: Path, out: Path, progress: Progress | None = None
) -> Iterator[Translated]:
    """Write OUT/NAME for each photo, or the file OUT for a single one, and say in OUT/translated.csv what was made.

    A photo that cannot be read is passed over, and said. What an earlier call made of these photos is replaced; files that no call
    has made are never touched.

    Raises:
        UserError: `out` lies among the photos, is a run, or holds other files by the names of results.
    """
    pictures = photographs(source)
    if source.is_file() and _is_name_of_a_file(out):
        yield _one(translate, source.name, source, out, out.name, progress)
        return
    earlier = _earlier(out)
    targets = _targets(source, out, pictures, {out / t.result for t in earlier.values() if t.result})
    results = [target.relative_to(out).as_posix() for target in targets]
    out.mkdir(parents=True, exist_ok=True)
    # A call that is killed has said which files are its own.
    planned = [Translated(name, result, "not reached") for (name, _), result in zip(pictures, results, strict=True)]
    _write(out, {**earlier, **{t.name: t for t in planned}})
    done: dict[str, Translated] = {}
    try:
        for (name, path), target, result in zip(pictures, targets, results, strict=True):
            stale = earlier[name].result if name in earlier else ""
            if stale and (stale == result or stale not in results):
                (out / stale).unlink(missing_ok=True)
            done[name] = _one(translate, name, path, target, result, progress)
            yield done[name]
    finally:  # also when a user stops it
        taken = {t.result for t in done.values()} - {""}
        others = {name: t for name, t in earlier.items() if name not in done and t.result not in taken}
        _write(out, {**others, **done})


def _is_name_of_a_file(out: Path) -> bool:
    """Whether `out` names the file to write, and not a folder.

    Raises:
        UserError: it does, but of a kind that is not written, or of one that is there.
    """
    ending = out.suffix.lower()
    if out.is_dir() or ending not in EXTENSIONS | VIDEOS:
        return False
    if ending not in _WRITTEN:
        raise UserError(f"{out}: name a file that ends in {', '.join(_WRITTEN)}, or a folder")
    if out.exists():
        raise UserError(f"{out}: is there already; name another file")
    return True


def _one(
    translate: AnyTranslator, name: str, path: Path, target: Path, result: str, progress: Progress | None
) -> Translated:
    try:
        made = translate.picture(pixels_of(read_picture(path, LARGEST)), progress)
        _save(made, target)
    except ValueError as error:
        return Translated(name, note=str(error))
    return Translated(name, result)


def _targets(source: Path, out: Path, pictures: list[tuple[str, Path]], ours: set[Path]) -> list[Path]:
    """The file of each photo, none of which is one itself or anybody else's."""
    check_folder(source, out)
    photos = {path.resolve() for _, path in pictures}
    seen: dict[Path, str] = {}
    for (name, _), result in zip(pictures, _results([name for name, _ in pictures]), strict=True):
        target = out / result
        if target.resolve() in photos:
            raise UserError(f"{target}: is one of the photos; name another place for the results")
        if target in seen:
            raise UserError(f"{target}: would be the result of both {seen[target]} and {name}; rename one of them")
        seen[target] = name
        if target.exists() and target not in ours:
            raise UserError(f"{target}: is there already, and no result of an earlier call; name another folder")
    return list(seen)


def _results(names: list[str]) -> list[str]:
    """Each photo's own name, with .png for an ending that is not written; behind it where others would have that name."""
    found = [name if _is_written(name) else str(Path(name).with_suffix(".png")) for name in names]
    often = Counter(found)
    return [
        f"{name}.png" if often[result] > 1 and not _is_written(name) else result
        for name, result in zip(names, found, strict=True)
    ]


def _is_written(name: str) -> bool:
    return Path(name).suffix.lower() in _WRITTEN


def _save(made: Tensor, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    form = _WRITTEN[target.suffix.lower()]
    image = Image.fromarray(made.permute(1, 2, 0).contiguous().numpy())
    with new_file(target) as partial:
        image.save(partial, form, **_QUALITY.get(form, {}))


def _write(out: Path, done: dict[str, Translated]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for t in done.values():
        writer.writerow([t.name, "no" if t.note else "yes", t.result, t.note])
    write_atomic(out / REPORT, text.getvalue().encode(errors="backslashreplace"))


def _earlier(out: Path) -> dict[str, Translated]:
    """What the folder's list says of earlier calls."""
    path = out / REPORT
    if not path.is_file():
        return {}
    rows = list(csv.reader(io.StringIO(path.read_text(errors="replace"), newline="")))
    if not rows or tuple(rows[0]) != _COLUMNS or any(len(row) != len(_COLUMNS) for row in rows):
        raise UserError(f"{path}: is there already, and no list of an earlier call; name another folder")
    return {name: Translated(name, result, note) for name, _, result, note in rows[1:]}
