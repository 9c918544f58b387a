"""Translating videos: every frame, upright and at its time, with the sound."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from distilgan.data.images import pixels_of
from distilgan.errors import UserError
from distilgan.evaluation.translation.translators import AnyTranslator, Progress
from distilgan.files import new_file

VIDEOS = frozenset({".mp4", ".mkv", ".mov", ".webm", ".avi", ".m4v"})
_CONTAINERS = {".mkv": "matroska", ".m4v": "mp4"}
# How RGB became YUV: the numbers that files tag it with, of which the scaler knows these; it takes ITU-R 601 for all others.
_SCALED, _ITU601, _RGB, _UNKNOWN, _LIMITED = (1, 4, 7, 9), 5, 0, 2, 1


def is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEOS


def translate_video(
    translate: AnyTranslator, source: Path, out: Path, progress: Progress | None = None
) -> tuple[Path, int]:
    """Write the video `out` (or OUT/NAME if that is a folder), every frame of `source` translated, its sound as it is; returns its
    path and how many frames it has.

    Raises:
        UserError: no video, a damaged one or one without frames; or `out` is there already, or cannot hold the sound.
    """
    try:
        import av
    except ImportError as error:
        raise UserError("videos need the package av: pip install 'distilgan[video]'") from error
    if not source.is_file():
        raise UserError(f"{source}: no such file")
    if out.is_dir() or not out.suffix:
        out = out / source.name
    if not is_video(out):
        raise UserError(f"{out}: name a file that ends in {', '.join(sorted(VIDEOS))}, or a folder")
    if out.exists():
        raise UserError(f"{out}: is there already; name another file")
    with _reading(source):
        given = av.open(str(source))
    with given:
        if not given.streams.video:
            raise UserError(f"{source}: holds no video")
        out.parent.mkdir(parents=True, exist_ok=True)
        with new_file(out) as partial:
            ending = out.suffix.lower()
            with _writing(out):
                made = av.open(str(partial), "w", format=_CONTAINERS.get(ending, ending[1:]))
            with made:
                count = _translated(translate, given, _Film(made, given, out), source, progress)
    return out, count


def _translated(translate: AnyTranslator, given: Any, film: _Film, source: Path, progress: Progress | None) -> int:
    count, total = 0, film.given.frames or round(Fraction(given.duration or 0, 10**6) * film.rate)
    for found in _contents(given, film.given, film.sound, source):
        if not hasattr(found, "rotation"):
            film.add_sound(found)
            continue
        film.add(translate.picture(_upright(found)), found)
        count += 1
        if progress:
            progress(count, max(total, count))
    if not count:
        raise UserError(f"{source}: a video without frames")
    film.end()
    return count


def _contents(given: Any, pictures: Any, sound: Any, source: Path) -> Iterator[Any]:
    """Frames, and packets of sound."""
    pictures.thread_type = "AUTO"
    with _reading(source):
        for packet in given.demux([s for s in (pictures, sound) if s is not None]):
            if packet.stream.index == pictures.index:
                yield from packet.decode()
            elif packet.dts is not None:
                yield packet


def _upright(frame: Any) -> Tensor:
    """uint8 [3, H, W]: phones film on their side, and say so."""
    pixels = pixels_of(Image.fromarray(frame.to_ndarray(format="rgb24")))
    return torch.rot90(pixels, round(frame.rotation / 90), (1, 2))


class _Film:
    """The video being written. What is in it must be known before the first packet, so sound waits for the first frame."""

    def __init__(self, made: Any, given: Any, out: Path) -> None:
        self.made, self.out = made, out
        self.given = given.streams.best("video")  # a cover is one too
        self.sound = given.streams.audio[0] if given.streams.audio else None
        self.rate = self.given.average_rate or Fraction(25)
        # Frames of an .avi are at a fixed distance and in their order.
        self.ordered = made.format.name == "avi"
        self.base = 1 / self.rate if self.ordered else self.given.time_base
        self.stream: Any = None
        self._waiting: list[Any] = []
        self._last = -1

    def add_sound(self, packet: Any) -> None:
        if self.stream is None:
            self._waiting.append(packet)
            return
        with _writing(self.out):
            packet.stream = self._sound_out
            self.made.mux(packet)

    def add(self, pixels: Tensor, frame: Any) -> None:
        """A translated frame uint8 [3, H, W], at the time of `frame` and in its kind of colours."""
        import av

        with _writing(self.out):
            if self.stream is None:
                self._start(pixels, frame)
            made = av.VideoFrame.from_ndarray(pixels.permute(1, 2, 0).contiguous().numpy(), "rgb24")
            matrix = frame.colorspace if frame.colorspace in _SCALED else _ITU601
            made = made.reformat(format=self.stream.pix_fmt, dst_colorspace=matrix, dst_color_range=_LIMITED)
            if frame.pts is not None:
                wanted = round(frame.pts * frame.time_base / self.base)
            else:
                wanted = self._last + round(1 / self.rate / self.base)
            made.pts = self._last = max(self._last + 1, wanted)
            made.time_base = self.base
            self.made.mux(self.stream.encode(made))
        waiting, self._waiting = self._waiting, []
        for packet in waiting:
            self.add_sound(packet)

    def _start(self, pixels: Tensor, frame: Any) -> None:
        codec = "libvpx-vp9" if self.made.format.name == "webm" else "libx264"
        options = {"crf": "18", **({"bf": "0"} if self.ordered else {})}
        self.stream = self.made.add_stream(codec, rate=self.rate, options=options)
        context = self.stream.codec_context
        self.stream.time_base = context.time_base = self.base
        self.stream.height, self.stream.width = pixels.shape[1:]
        # Halved colour needs even sides.
        self.stream.pix_fmt = "yuv444p" if any(side % 2 for side in pixels.shape[1:]) else "yuv420p"
        context.colorspace = _UNKNOWN if frame.colorspace == _RGB else frame.colorspace
        context.color_primaries, context.color_trc = frame.color_primaries, frame.color_trc
        context.color_range = _LIMITED
        if shape := self.given.sample_aspect_ratio:
            context.sample_aspect_ratio = 1 / shape if round(frame.rotation / 90) % 2 else shape
        if self.sound is None:
            self.made.start_encoding()
            return
        try:
            self._sound_out = self.made.add_stream_from_template(self.sound)
            self.made.start_encoding()
        except ValueError as error:
            kind = self.sound.codec_context.name
            raise UserError(
                f"{self.out}: such files cannot hold the video's sound ({kind}); name one that ends in .mkv"
            ) from error

    def end(self) -> None:
        with _writing(self.out):
            self.made.mux(self.stream.encode())


@contextmanager
def _reading(source: Path) -> Iterator[None]:
    import av

    try:
        yield
    except av.error.FFmpegError as error:
        raise UserError(f"{source}: not a video, or a damaged one ({error.strerror or error})") from error


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """A full disk is left to `new_file`."""
    import av

    try:
        yield
    except av.error.FFmpegError as error:
        if isinstance(error, OSError) and error.errno:
            raise OSError(error.errno, error.strerror, str(out)) from error
        raise UserError(f"{out}: cannot be written ({error.strerror or error})") from error
