"""Translating photos and videos: from files to files of the same names and sizes."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from distilgan.data.images import pixels_of, read_picture
from distilgan.errors import UserError
from distilgan.evaluation.translation.translators import AnyTranslator
from distilgan.files import new_file, write_atomic
from distilgan.pipeline.photographs import photographs
from distilgan.runs import is_run

VIDEOS = frozenset({".mp4", ".mkv", ".mov", ".webm", ".avi", ".m4v"})
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
_LARGEST = 2**29  # pixels of a photo: what 8 GB hold several times over
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Translated:
    """What became of a photo; `note` says why there is no result."""

    name: str
    result: str = ""
    note: str = ""


def is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEOS


def translate_photos(
    translate: AnyTranslator, source: Path, out: Path, progress: Progress | None = None
) -> Iterator[Translated]:
    """Write OUT/NAME for each photo, or the file OUT for a single one, and say in OUT/translated.csv what was made.

    A photo that cannot be read is passed over, and said. Results of an earlier call are replaced, other files never.

    Raises:
        UserError: `out` lies among the photos, is a run, or holds other files by the names of results.
    """
    pictures = photographs(source)
    single = source.is_file() and (out.suffix.lower() in _WRITTEN and not out.is_dir())
    targets = [out] if single else [out / _result_name(name) for name, _ in pictures]
    earlier = {} if single else _earlier(out)
    _check_targets(source, out, pictures, targets, earlier, single)
    done: dict[str, Translated] = {}
    try:
        for (name, path), target in zip(pictures, targets, strict=True):
            result = target.name if single else target.relative_to(out).as_posix()
            try:
                rgb = read_picture(path, _LARGEST)
                made = translate.picture(pixels_of(rgb), progress)
                _save(made, target)
                done[name] = Translated(name, result)
            except ValueError as error:
                done[name] = Translated(name, note=str(error))
            yield done[name]
    finally:  # also when a user stops it
        if not single:
            others = {name: t for name, t in earlier.items() if name not in done}
            _write(out, {**others, **done})


def _result_name(name: str) -> str:
    """The photo's own, or with .png for what is not written."""
    path = Path(name)
    return name if path.suffix.lower() in _WRITTEN else str(path.with_suffix(".png"))


def _check_targets(
    source: Path, out: Path, pictures: list[tuple[str, Path]], targets: list[Path], earlier: dict[str, Translated], single: bool
) -> None:  # fmt: skip
    if not single:
        if out.exists() and not out.is_dir():
            raise UserError(f"{out}: is a file; name a folder")
        if is_run(out):
            raise UserError(f"{out}: is a run; name another folder")
        if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
            raise UserError(f"{out}: lies in {source}, whose pictures are translated; name a folder outside it")
    photos = {path.resolve() for _, path in pictures}
    ours = {out / t.result for t in earlier.values() if t.result}
    seen: dict[Path, str] = {}
    for (name, _), target in zip(pictures, targets, strict=True):
        if target.resolve() in photos:
            raise UserError(f"{target}: is one of the photos; name another place for the results")
        if target in seen:
            raise UserError(f"{target}: would be the result of both {seen[target]} and {name}; rename one of them")
        seen[target] = name
        if target.exists() and target not in ours and not single:
            raise UserError(f"{target}: is there already, and no result of an earlier call; name another folder")


def _save(made: Tensor, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    form = _WRITTEN[target.suffix.lower()]
    image = Image.fromarray(made.permute(1, 2, 0).contiguous().numpy())
    with new_file(target) as partial:
        image.save(partial, form, **({"quality": 95, "subsampling": 0} if form == "JPEG" else {}))


def _write(out: Path, done: dict[str, Translated]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for t in done.values():
        writer.writerow([t.name, "yes" if t.result else "no", t.result, t.note])
    out.mkdir(parents=True, exist_ok=True)
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


def translate_video(translate: AnyTranslator, source: Path, out: Path, progress: Progress | None = None) -> int:
    """Write the video `out`, every frame of `source` translated, its sound as it is; returns how many frames.

    Raises:
        UserError: no video, none of its frames can be read, or `out` is there and is `source`.
    """
    try:
        import av
    except ImportError as error:
        raise UserError("videos need the package av: pip install 'distilgan[video]'") from error
    if not source.is_file():
        raise UserError(f"{source}: no such file")
    if not is_video(out):
        raise UserError(f"{out}: name a file that ends in {', '.join(sorted(VIDEOS))}")
    if out.exists() and out.samefile(source):
        raise UserError(f"{out}: is the video itself; name another file")
    try:
        with av.open(str(source)) as given, new_file(out) as partial:
            if not given.streams.video:
                raise UserError(f"{source}: holds no video")
            with av.open(str(partial), "w", format=_container(out)) as made:
                return _frames(translate, given, made, source, progress)
    except av.error.FFmpegError as error:
        raise UserError(f"{source}: not a video, or a damaged one ({error.strerror or error})") from error


def _container(out: Path) -> str:
    return {".mkv": "matroska", ".m4v": "mp4"}.get(out.suffix.lower(), out.suffix.lower()[1:])


def _frames(translate: AnyTranslator, given: Any, made: Any, source: Path, progress: Progress | None) -> int:
    import av

    pictures = given.streams.video[0]
    pictures.thread_type = "AUTO"
    codec = "libvpx-vp9" if made.format.name == "webm" else "libx264"
    stream, count, total = None, 0, pictures.frames
    sound = given.streams.audio[0] if given.streams.audio else None
    sound_out = made.add_stream_from_template(sound) if sound is not None else None
    for packet in given.demux(*(s for s in (pictures, sound) if s is not None)):
        if packet.stream is sound:
            if packet.dts is not None and sound_out is not None:
                packet.stream = sound_out
                made.mux(packet)
            continue
        for frame in packet.decode():
            pixels = pixels_of(Image.fromarray(frame.to_ndarray(format="rgb24")))
            if stream is None:
                rate = pictures.average_rate or Fraction(25)
                stream = made.add_stream(codec, rate=rate, options={"crf": "18"})
                # Halved colour needs even sides.
                even = [side % 2 == 0 for side in pixels.shape[1:]]
                stream.height, stream.width = pixels.shape[1:]
                stream.pix_fmt = "yuv420p" if all(even) else "yuv444p"
                stream.time_base = pictures.time_base
            found = av.VideoFrame.from_ndarray(translate.picture(pixels).permute(1, 2, 0).contiguous().numpy(), "rgb24")
            found.pts, found.time_base = frame.pts, frame.time_base
            made.mux(stream.encode(found))
            count += 1
            if progress:
                progress(count, max(total, count))
    if stream is None:
        raise UserError(f"{source}: a video without frames")
    made.mux(stream.encode())
    return count
