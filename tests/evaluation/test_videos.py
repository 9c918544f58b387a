"""Videos: every frame at its time, upright, in its colours, with its sound."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distilgan.errors import UserError
from distilgan.evaluation.translation.translators import TorchTranslator
from distilgan.pipeline.videos import translate_video
from tests.conftest import tiny_cut

av: Any = pytest.importorskip("av")
BRIGHT, DARK = (200, 60, 30), (20, 40, 90)


class Unchanged(TorchTranslator):
    """Shows what comes of a video whose pictures nothing happens to."""

    def picture(self, pixels: torch.Tensor, progress: object = None) -> torch.Tensor:
        return pixels


@pytest.fixture(scope="module")
def same() -> TorchTranslator:
    return Unchanged(tiny_cut(), "same")


def write(
    path: Path, size: tuple[int, int] = (48, 64), times: tuple[int, ...] = (0, 40, 80, 120), sound: str | None = None,
    rotation: int | None = None, colorspace: int | None = None, codec: str = "libx264", packets: int = 12,
) -> Path:  # fmt: skip
    """Frames that are bright at the top left and get brighter; `times` in milliseconds."""
    with av.open(str(path), "w") as made:
        track = None
        if sound is not None:
            track = made.add_stream(sound, rate=48000)
            track.layout = "mono"
        stream = made.add_stream(codec, rate=25, options={"crf": "4"} if codec == "libx264" else {})
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p" if not any(side % 2 for side in size) else "yuv444p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 25 if codec == "mpeg4" else 1000)
        if rotation is not None:
            stream.set_display_rotation(rotation)
        if colorspace is not None:
            stream.codec_context.colorspace, stream.codec_context.color_range = colorspace, 1
        for i in range(packets if track else 0):  # the sound comes first
            wave = np.sin(np.arange(960) / 20 + 48 * i).astype(np.float32)[None] * 0.3
            frame = av.AudioFrame.from_ndarray(wave, format="flt" if sound == "libopus" else "fltp", layout="mono")
            frame.sample_rate, frame.pts = 48000, 960 * i
            made.mux(track.encode(frame))
        for i, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(size, i), "rgb24")
            if colorspace is not None:
                frame = frame.reformat(format=stream.pix_fmt, dst_colorspace=colorspace, dst_color_range=1)
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            made.mux(stream.encode(frame))
        made.mux(stream.encode())
        if track:
            made.mux(track.encode())
    return path


def picture(size: tuple[int, int], i: int = 0) -> np.ndarray:
    pixels = np.empty((*size, 3), np.uint8)
    pixels[:] = DARK
    pixels[: size[0] // 2, : size[1] // 2] = BRIGHT
    return pixels + np.uint8(5 * i)


def frames(path: Path) -> list[Any]:
    with av.open(str(path)) as given:
        return list(given.decode(video=0))


def pixels_of(frame: Any) -> np.ndarray:
    pixels: np.ndarray = frame.to_ndarray(format="rgb24").astype(int)
    return pixels


def sound_of(path: Path) -> tuple[str, list[bytes]]:
    with av.open(str(path)) as given:
        track = given.streams.audio[0]
        return track.codec_context.name, [bytes(p) for p in given.demux(track) if p.size]


def test_every_frame_is_translated(tmp_path: Path) -> None:
    network = TorchTranslator(tiny_cut(), "tiny")
    source = write(tmp_path / "in.mp4")
    told: list[tuple[int, int]] = []
    out, count = translate_video(network, source, tmp_path / "deep" / "out.mp4", lambda *n: told.append(n))
    assert (out, count, told) == (tmp_path / "deep" / "out.mp4", 4, [(i, 4) for i in range(1, 5)])
    for given, made in zip(frames(source), frames(out), strict=True):
        pixels = torch.from_numpy(given.to_ndarray(format="rgb24")).permute(2, 0, 1)
        wanted = network.picture(pixels).permute(1, 2, 0).numpy().astype(int)
        assert np.abs(pixels_of(made) - wanted).mean() < 12  # half the colour, compressed
        assert made.time == given.time
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["out.mp4"]


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".MOV", ".m4v", ".webm", ".avi"])
def test_containers(ending: str, same: TorchTranslator, tmp_path: Path) -> None:
    source = write(tmp_path / "in.mp4")
    out, count = translate_video(same, source, tmp_path / f"out{ending}")
    assert count == 4
    start = frames(out)[0].time  # an .avi counts a decoder's delay
    for i, frame in enumerate(frames(out)):
        assert frame.time - start == pytest.approx(0.04 * i, abs=1e-3)
        assert np.abs(pixels_of(frame) - pixels_of(frames(source)[i])).mean() < 6


@pytest.mark.parametrize(("sound", "ending"), [("aac", ".mp4"), ("libopus", ".webm"), ("aac", ".mkv")])
def test_sound_stays(sound: str, ending: str, same: TorchTranslator, tmp_path: Path) -> None:
    source = write(tmp_path / f"in{ending}", sound=sound, codec="libvpx-vp9" if ending == ".webm" else "libx264")
    out, count = translate_video(same, source, tmp_path / f"out{ending}")
    assert count == 4
    assert sound_of(out) == sound_of(source)
    assert len(sound_of(out)[1]) >= 8


def test_sound_that_a_container_cannot_hold(same: TorchTranslator, tmp_path: Path) -> None:
    source = write(tmp_path / "in.mp4", sound="aac")
    with pytest.raises(
        UserError, match=r"out\.webm: such files cannot hold the video's sound \(aac\); name one that ends in \.mkv"
    ):
        translate_video(same, source, tmp_path / "out.webm")
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
def test_frames_at_uneven_times(ending: str, same: TorchTranslator, tmp_path: Path) -> None:
    times = (0, 40, 200, 240, 300, 700, 710, 1000)
    source = write(tmp_path / f"in{ending}", times=times)
    out, _ = translate_video(same, source, tmp_path / f"out{ending}")
    assert [round(1000 * f.time) for f in frames(out)] == list(times)


def test_a_container_without_times_of_its_own(same: TorchTranslator, tmp_path: Path) -> None:
    source = write(tmp_path / "in.avi", codec="mpeg4")
    assert translate_video(same, source, tmp_path / "out.mp4")[1] == 4
    assert len(frames(tmp_path / "out.mp4")) == 4


@pytest.mark.parametrize("size", [(49, 63), (50, 66), (33, 34)])
def test_odd_sizes_stay(size: tuple[int, int], same: TorchTranslator, tmp_path: Path) -> None:
    out, _ = translate_video(same, write(tmp_path / "in.mp4", size), tmp_path / "out.mp4")
    first = frames(out)[0]
    assert (first.height, first.width) == size
    assert np.abs(pixels_of(first) - picture(size)).mean() < 8


@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_a_phones_video_stands_upright(rotation: int, same: TorchTranslator, tmp_path: Path) -> None:
    """Its frames lie on their side, and the file says by how much players turn them, counterclockwise."""
    source = write(tmp_path / "in.mp4", rotation=rotation)
    out, _ = translate_video(same, source, tmp_path / "out.mp4")
    first = frames(out)[0]
    assert first.rotation == 0
    assert np.abs(pixels_of(first) - np.rot90(picture((48, 64)), rotation // 90)).mean() < 8


@pytest.mark.parametrize("colorspace", [1, 5, None])
def test_colours_stay(colorspace: int | None, same: TorchTranslator, tmp_path: Path) -> None:
    """ITU-R 709, as high-definition videos are, 601, and none that is said."""
    source = write(tmp_path / "in.mp4", colorspace=colorspace)
    out, _ = translate_video(same, source, tmp_path / "out.mp4")
    before, after = frames(source)[0], frames(out)[0]
    assert after.colorspace == before.colorspace
    for place in ((5, 5), (40, 50)):
        assert np.abs(pixels_of(after)[place] - pixels_of(before)[place]).max() <= 4
        assert np.abs(pixels_of(after)[place] - picture((48, 64))[place]).max() <= 6


def test_a_folder_takes_the_name(same: TorchTranslator, tmp_path: Path) -> None:
    source = write(tmp_path / "a b ü.MP4")
    (tmp_path / "there").mkdir()
    for folder in ("there", "new"):
        assert translate_video(same, source, tmp_path / folder)[0] == tmp_path / folder / "a b ü.MP4"


def test_what_is_no_video(same: TorchTranslator, tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.mp4").read_bytes()
    cut = write(tmp_path / "cut.mkv")
    cut.write_bytes(cut.read_bytes()[:900])
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").write_bytes(b"")
    with av.open(str(tmp_path / "sound.mp4"), "w") as made:
        track = made.add_stream("aac", rate=48000)
        track.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        made.mux(track.encode(frame))
        made.mux(track.encode())
    before = {p.name for p in tmp_path.iterdir()}
    for name, message in (
        ("cut.mkv", r"without frames|damaged one"), ("half.mp4", "damaged one"), ("text.mp4", "not a video"),
        ("empty.mp4", "not a video"), ("sound.mp4", "holds no video"), ("nowhere.mp4", "no such file"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=message) as error:
            translate_video(same, tmp_path / name, tmp_path / "out.mp4")
        assert name in str(error.value)
    assert {p.name for p in tmp_path.iterdir()} == before


def test_files_that_are_there_stay(same: TorchTranslator, tmp_path: Path) -> None:
    source = write(tmp_path / "in.mp4")
    (tmp_path / "mine.mp4").write_bytes(b"mine")
    for out, message in (("mine.mp4", "is there already"), ("in.mp4", "is there already"), ("x.png", "ends in .avi")):
        with pytest.raises(UserError, match=message):
            translate_video(same, source, tmp_path / out)
    with pytest.raises(UserError, match="is there already"):
        translate_video(same, source, tmp_path)
    assert (tmp_path / "mine.mp4").read_bytes() == b"mine"


def test_a_stopped_call_leaves_nothing(same: TorchTranslator, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    source = write(tmp_path / "in.mp4", sound="aac")
    with pytest.raises(KeyboardInterrupt):
        translate_video(same, source, tmp_path / "out.mp4", stop)
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


def test_without_the_package_the_cure_is_said(
    same: TorchTranslator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(UserError, match=r"pip install 'distilgan\[video\]'"):
        translate_video(same, tmp_path / "in.mp4", tmp_path / "out.mp4")
