"""Photos in, translations out: of every kind of file, and nobody's files touched."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from distilgan.errors import UserError
from distilgan.evaluation.translation.translators import TorchTranslator, open_translator
from distilgan.networks import tiles
from distilgan.pipeline.translate import REPORT, Translated, translate_photos
from tests.conftest import tiny_cut


@pytest.fixture(scope="module")
def network() -> TorchTranslator:
    return TorchTranslator(tiny_cut(), "tiny")


def ramp(height: int = 21, width: int = 34) -> Image.Image:
    """Brighter to the right and to the bottom, alike in all channels."""
    values = np.add.outer(np.linspace(0, 60, height), np.linspace(0, 180, width))
    return Image.fromarray(values[..., None].repeat(3, 2).astype(np.uint8))


def translated(network: TorchTranslator, source: Path, out: Path) -> dict[str, Translated]:
    return {t.name: t for t in translate_photos(network, source, out)}


def seen(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image.convert("RGB")).astype(int)


def expected(network: TorchTranslator, image: Image.Image) -> np.ndarray:
    pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
    padded = torch.nn.functional.pad(
        pixels[None].float() / 127.5 - 1, (0, -image.width % 4, 0, -image.height % 4), "reflect"
    )
    made = network(padded)[0, :, : image.height, : image.width]
    return ((made + 1) * 127.5).permute(1, 2, 0).numpy()


def test_a_photo_is_what_the_network_makes_of_it(network: TorchTranslator, tmp_path: Path) -> None:
    ramp().save(tmp_path / "photo.png")
    assert translated(network, tmp_path / "photo.png", tmp_path / "deep" / "made.png") == {
        "photo.png": Translated("photo.png", "made.png")
    }
    wanted = expected(network, ramp())
    assert wanted.std() > 10
    assert np.abs(seen(tmp_path / "deep" / "made.png") - wanted).max() <= 1
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["made.png"]


def turned(path: Path) -> None:
    image = ramp().transpose(Image.Transpose.ROTATE_90)
    exif = image.getexif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    image.save(path, exif=exif, quality=100, subsampling=0)


def see_through(path: Path) -> None:
    rgba = ramp().convert("RGBA")
    rgba.putalpha(Image.new("L", rgba.size, 0))
    rgba.save(path)


def moving(path: Path) -> None:
    ramp().save(path, save_all=True, append_images=[Image.new("RGB", (34, 21), "red")] * 2, lossless=True)


WHITE = Image.new("RGB", (34, 21), "white")


@pytest.mark.parametrize(
    ("name", "write", "photo", "off"),
    [
        ("grey.png", lambda p: ramp().convert("L").save(p), ramp(), 1),
        ("sixteen bits.png", lambda p: Image.fromarray(np.array(ramp())[..., 0].astype(np.uint16) * 257).save(p), ramp(), 1),
        ("UPPER.TIFF", lambda p: ramp().save(p), ramp(), 1),
        ("süß und weit.bmp", lambda p: ramp().save(p), ramp(), 1),
        ("clear.png", see_through, WHITE, 1),
        ("moving.webp", moving, ramp(), 100),
        ("palette.png", lambda p: ramp().quantize(16).save(p, transparency=99), ramp().quantize(16), 1),
        ("turned.jpg", turned, ramp(), 60),
        ("print.jpeg", lambda p: ramp().convert("CMYK").save(p, quality=100), ramp(), 60),
    ],
)  # fmt: skip
def test_kinds_of_files(
    name: str, write: Callable[[Path], None], photo: Image.Image, off: int, network: TorchTranslator, tmp_path: Path
) -> None:
    """`off`: of single pixels, by lossy compression."""
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / name)
    assert translated(network, tmp_path / "in", tmp_path / "out") == {name: Translated(name, name)}
    made, wanted = seen(tmp_path / "out" / name), expected(network, photo)
    assert made.shape == wanted.shape
    assert np.abs(made - wanted).max() <= off
    assert np.abs(made - wanted).mean() < 8


def test_a_folder(network: TorchTranslator, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    (folder / "deep" / "er").mkdir(parents=True)
    for name in ("a.png", "a.jpg", "deep/er/a.png", "b.gif", "b.png", "c.GIF", ".hidden.png"):
        ramp().save(folder / name)
    for name, size in (("dot.png", (1, 1)), ("line.png", (3, 50))):
        ramp(*size).save(folder / name)
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:-40])
    (folder / "notes.txt").write_text("mine")
    found = translated(network, folder, out)
    results = {name: t.result for name, t in found.items() if not t.note}
    assert results == {
        "a.png": "a.png", "a.jpg": "a.jpg", "deep/er/a.png": "deep/er/a.png", "b.gif": "b.gif.png", "b.png": "b.png",
        "c.GIF": "c.png", "dot.png": "dot.png", "line.png": "line.png",
    }  # fmt: skip
    assert found["broken.png"].note == "not a usable image (not an image, whatever its name says)"
    assert found["cut.png"].note.startswith("not a usable image (")
    assert {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()} == {*results.values(), REPORT}
    for name, result in results.items():
        assert Image.open(out / result).size == Image.open(folder / name).size
    rows = {r["image"]: r for r in csv.DictReader((out / REPORT).read_text().splitlines())}
    assert {name: row["made"] for name, row in rows.items()} == {n: "no" if t.note else "yes" for n, t in found.items()}
    assert translated(network, folder, out) == found  # its own results are replaced


def test_what_failed_leaves_no_older_result(network: TorchTranslator, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    ramp().save(tmp_path / "in" / "a.png")
    translated(network, tmp_path / "in", tmp_path / "out")
    (tmp_path / "in" / "a.png").write_bytes(b"no picture")
    for _ in range(2):
        assert translated(network, tmp_path / "in", tmp_path / "out")["a.png"].note
        assert [p.name for p in (tmp_path / "out").iterdir()] == [REPORT]


def test_a_stopped_or_killed_call_is_gone_on_with(network: TorchTranslator, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        ramp().save(folder / name)
    going = translate_photos(network, folder, out)
    next(going)
    listed = (out / REPORT).read_text()  # as a kill would leave it
    assert listed.splitlines()[1:] == ["a.png,no,a.png,not reached", "b.png,no,b.png,not reached"]
    going.close()
    assert (out / REPORT).read_text().splitlines()[1:] == ["a.png,yes,a.png,"]
    (out / REPORT).write_text(listed)
    assert set(translated(network, folder, out)) == {"a.png", "b.png"}


def test_nothing_that_a_call_has_not_made_is_touched(network: TorchTranslator, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir(), out.mkdir()
    ramp().save(folder / "a.png")
    before = (folder / "a.png").read_bytes()
    (out / "mine.txt").write_text("mine")
    for own in ("a.png", REPORT):
        (out / own).write_bytes(b"mine")
        with pytest.raises(UserError, match=rf"{own}: is there already, and no .*; name another folder"):
            translated(network, folder, out)
        assert (out / own).read_bytes() == b"mine"
        (out / own).unlink()
    (out / "a.png").write_bytes(b"mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").write_text("# The whole recipe of this run, written by distilgan.\n")
    for source, target, message in (
        (folder / "a.png", out / "a.png", "is there already; name another file"),
        (folder / "a.png", folder, "is one of the photos"),
        (folder / "a.png", folder / "a.png", "is there already"),
        (folder / "a.png", out / "a.gif", r"name a file that ends in \.png, .*, or a folder"),
        (folder / "a.png", out / "mine.txt", "is a file; name a folder"),
        (folder / "a.png", tmp_path / "run", "is a run; name another folder"),
        (folder, folder, "name a folder outside it"),
        (folder, folder / "out", "name a folder outside it"),
    ):
        with pytest.raises(UserError, match=message):
            translated(network, source, target)
    assert (out / "a.png").read_bytes() == b"mine"
    assert (folder / "a.png").read_bytes() == before
    assert {p.name for p in out.iterdir()} == {"a.png", "mine.txt"}
    assert translated(network, folder / "a.png", tmp_path / "new")["a.png"].result == "a.png"


def test_photos_that_become_one_name(network: TorchTranslator, tmp_path: Path) -> None:
    """A name that was given another file as its result leaves none behind."""
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    ramp().save(folder / "a.gif")
    assert translated(network, folder, out)["a.gif"].result == "a.png"
    ramp().save(folder / "a.png")
    assert {t.result for t in translated(network, folder, out).values()} == {"a.gif.png", "a.png"}
    (folder / "a.png").unlink()
    assert {t.result for t in translated(network, folder, out).values()} == {"a.png"}
    assert {p.name for p in out.iterdir()} == {"a.png", REPORT}


def test_large_photos_show_no_seams(network: TorchTranslator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where tiles meet, neighbours differ no more than elsewhere."""
    monkeypatch.setattr(tiles, "WHOLE", 64 * 64)
    smooth = np.add.outer(np.sin(np.arange(300) / 40), np.cos(np.arange(400) / 60)) * 60 + 127
    pixels = torch.from_numpy(smooth.astype(np.uint8)).expand(3, -1, -1).contiguous()
    told: list[tuple[int, int]] = []
    made = tiles.translate_picture(
        network.network, pixels, whole=64 * 64, tile=64, progress=lambda *n: told.append(n)
    ).float()
    assert told[-1] == (35, 35)
    steps = (made[:, :, 1:] - made[:, :, :-1]).abs().mean((0, 1))
    at_seams = steps[63::64]
    assert float(at_seams.max()) <= float(steps.max())
    assert float(at_seams.mean()) < 1.2 * float(steps.mean())


def test_other_files_are_no_translators(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"no")
    (tmp_path / "x.pth").write_bytes(b"no")
    for name, message in (
        ("nowhere", "no such file or folder"), ("x.onnx", "not an ONNX file"), ("x.pth", "save its state_dict|not a checkpoint"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=message):
            open_translator(str(tmp_path / name))


_PEAK = """
import resource, sys
from pathlib import Path
import torch
from distilgan.evaluation.translation.translators import open_translator
from distilgan.pipeline.translate import translate_photos
torch.set_num_threads(1)
print([t.note for t in translate_photos(open_translator(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


@pytest.mark.slow
def test_a_hundred_megapixels_take_bounded_memory(cut_teacher: Path, tmp_path: Path) -> None:
    """300 MB as pixels; a network of four channels at full size in one piece would take 1.6 GB a layer."""
    Image.linear_gradient("L").resize((12_500, 8_000)).convert("RGB").save(tmp_path / "large.jpg")
    command = [sys.executable, "-c", _PEAK, str(cut_teacher), str(tmp_path / "large.jpg"), str(tmp_path / "made.jpg")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=True)
    notes, gigabytes = done.stdout.splitlines()
    assert notes == "['']"
    assert float(gigabytes) < 2.5
    assert Image.open(tmp_path / "made.jpg").size == (12_500, 8_000)
