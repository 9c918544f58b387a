from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from distilgan.data.archives import data_sha256
from distilgan.data.feed import Feed
from distilgan.data.images import ImageSet, fit_square, to_float, to_rgb8, to_uint8
from distilgan.errors import UserError


def png(array: np.ndarray, mode: str | None = None) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array, mode).save(buffer, "PNG")
    return buffer.getvalue()


def colour(value: int, size: int = 8) -> np.ndarray:
    return np.full((size, size, 3), value, np.uint8)


def test_any_mix_of_sizes_and_modes(tmp_path: Path) -> None:
    folder = tmp_path / "mix"
    (folder / "deep" / "er").mkdir(parents=True)
    Image.new("L", (20, 10), 200).save(folder / "a.png")
    Image.new("CMYK", (12, 12), (255, 0, 0, 0)).save(folder / "b.jpg", quality=100)
    Image.fromarray(np.full((9, 9), 40000, np.uint16)).save(folder / "c.png")
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(folder / "deep" / "d.png")
    Image.new("P", (8, 30), 0).save(folder / "deep" / "er" / "e.gif")
    frames = [Image.new("RGB", (16, 16), c) for c in ("red", "blue")]
    frames[0].save(folder / "f.gif", save_all=True, append_images=frames[1:])
    Image.new("1", (16, 16), 1).save(folder / "g.bmp")
    images = ImageSet(folder, 8)
    assert len(images) == 7
    assert not images.skipped
    found = {Path(n).name: images[i][:, 4, 4].tolist() for i, n in enumerate(images.names)}
    assert found["a.png"] == [200, 200, 200]
    assert max(abs(a - b) for a, b in zip(found["b.jpg"], [0, 255, 255], strict=True)) <= 3  # cyan
    assert found["c.png"] == [156, 156, 156]  # 40000 / 65535 of 255, rounded
    assert found["d.png"] == [255, 255, 255]  # transparent on white
    assert found["f.gif"] == [255, 0, 0] or found["f.gif"] == [254, 0, 0]  # first frame
    assert found["g.bmp"] == [255, 255, 255]


def test_unusable_files_are_named_and_skipped_or_refused(tmp_path: Path) -> None:
    folder = tmp_path / "bad"
    folder.mkdir()
    whole = png(np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8))
    (folder / "good.png").write_bytes(whole)
    (folder / "text.png").write_text("hello")
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "pixel.png").write_bytes(png(colour(3, 1)))
    (folder / "notes.txt").write_text("not an image and not called one")
    images = ImageSet(folder, 16)
    assert images.names == ["good.png"]
    reasons = {s.name: s.reason for s in images.skipped}
    assert set(reasons) == {"text.png", "cut.png", "empty.png", "pixel.png"}
    assert "not an image" in reasons["text.png"]
    assert "1x1" in reasons["pixel.png"]
    assert all("\n" not in r for r in reasons.values())
    with pytest.raises(UserError, match=r"cut\.png cannot be used .*read without strict"):
        ImageSet(folder, 16, strict=True)


@pytest.mark.parametrize("content", [None, "text"])
def test_folders_without_images(tmp_path: Path, content: str | None) -> None:
    if content:
        (tmp_path / "a.png").write_text(content)
        with pytest.raises(UserError, match=r"not one of its images \(1\) can be read .*a\.png"):
            ImageSet(tmp_path)
    else:
        with pytest.raises(UserError, match="holds no images"):
            ImageSet(tmp_path)


def test_missing_and_wrong_paths(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder or zip"):
        ImageSet(tmp_path / "nowhere")
    (tmp_path / "x.png").write_bytes(png(colour(1)))
    with pytest.raises(UserError, match=r"expected a folder or a \.zip"):
        ImageSet(tmp_path / "x.png")
    with pytest.raises(UserError, match="not part of the package; known: "):
        ImageSet("builtin:nothing")


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_stylegan_zip_with_labels(tmp_path: Path) -> None:
    labels = [["00000/img00000000.png", 3], ["00000/img00000001.png", 5]]
    members = {f"00000/img0000000{i}.png": png(colour(i * 50)) for i in range(2)}
    path = make_zip(tmp_path / "set.zip", {**members, "dataset.json": json.dumps({"labels": labels}).encode()})
    images = ImageSet(path)
    assert images.resolution == 8
    assert images.labels.tolist() == [3, 5]
    assert images[1].unique().tolist() == [50]


@pytest.mark.parametrize("name", ["../evil.png", "a/../../evil.png", "/abs.png", "a\\..\\..\\evil.png", "C:/evil.png"])
def test_zip_members_that_point_outside_are_refused(tmp_path: Path, name: str) -> None:
    path = make_zip(tmp_path / "evil.zip", {"ok.png": png(colour(1)), name: png(colour(2))})
    with pytest.raises(UserError, match="points outside the archive"):
        ImageSet(path)
    assert not (tmp_path.parent / "evil.png").exists()


def _set(content: bytearray, offset: int, value: int) -> None:
    """Set a byte of the central directory's first entry; offsets as in the zip specification, section 4.3.12."""
    content[content.index(b"PK\x01\x02") + offset] = value


@pytest.mark.parametrize(
    "damage",
    [
        lambda c: c.__delitem__(slice(40, None)),  # cut
        lambda c: _set(c, 6, 99),  # needs version 9.9
        lambda c: (_set(c, 9, 8), _set(c, 46, 0xFF)),  # its name claims to be UTF-8 and is not
    ],
)
def test_damaged_zip(tmp_path: Path, damage: Callable[[bytearray], object]) -> None:
    path = make_zip(tmp_path / "cut.zip", {"a.png": png(colour(1))})
    content = bytearray(path.read_bytes())
    damage(content)
    path.write_bytes(content)
    with pytest.raises(UserError, match="not a zip file, or a damaged one"):
        ImageSet(path)


def test_encrypted_zip_members_are_named(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "locked.zip", {"a.png": png(colour(1))})
    content = bytearray(path.read_bytes())
    _set(content, 8, 1)
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.png.*encrypted"):
        ImageSet(path)


def test_pixels_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    values = np.zeros((8, 8), np.float32)
    values[0, 0] = np.nan
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match="NaN"):
        ImageSet(tmp_path)


def test_bad_labels(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "l.zip", {"a.png": png(colour(1)), "dataset.json": b"{"})
    with pytest.raises(UserError, match=r"dataset\.json"):
        ImageSet(path)


def test_limit_counts_usable_images(image_folder: Path) -> None:
    (image_folder / "000.png").write_text("broken")
    images = ImageSet(image_folder, 16, limit=5)
    assert len(images) == 5
    assert [s.name for s in images.skipped] == ["000.png"]


def test_big_sets_are_read_one_by_one(image_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_memory = ImageSet(image_folder, 16)
    monkeypatch.setattr("distilgan.data.images.IN_MEMORY", 0)
    (image_folder / "zzz.png").write_text("broken")
    from_disk = ImageSet(image_folder, 16)
    assert from_disk.names == in_memory.names
    assert [s.name for s in from_disk.skipped] == ["zzz.png"]
    assert torch.equal(from_disk[7], in_memory[7])


def test_a_big_set_goes_on_past_damaged_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A truncated JPEG has a good header: it is found when its turn comes, or by check() and strict beforehand."""
    monkeypatch.setattr("distilgan.data.images.IN_MEMORY", 0)
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    for i in range(4):
        Image.fromarray(noise // (i + 1)).save(tmp_path / f"{i}.jpg", quality=95)
    content = (tmp_path / "1.jpg").read_bytes()
    (tmp_path / "1.jpg").write_bytes(content[: len(content) // 3])
    (tmp_path / "pixel.png").write_bytes(png(colour(3, 1)))
    images = ImageSet(tmp_path, 16)
    assert [s.name for s in images.skipped] == ["pixel.png"]
    assert torch.equal(images[1], images[2])
    images.check()
    assert images.names == ["0.jpg", "2.jpg", "3.jpg"]
    with pytest.raises(UserError, match=r"1\.jpg cannot be used"):
        ImageSet(tmp_path, 16, strict=True)


def test_workers_read_one_zip_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distilgan.data.images.IN_MEMORY", 0)
    path = make_zip(tmp_path / "z.zip", {f"{i:03d}.png": png(colour(i)) for i in range(200)})
    batches = Feed(ImageSet(path, 8)).batches(50, seed=0, workers=2)
    seen = sorted(int(x) for _ in range(4) for x in next(batches).images[:, 0, 0, 0])
    assert seen == list(range(200))


def test_depths_without_guessing_from_one_picture() -> None:
    """A dark 16-bit picture stays dark; floats are told by their range."""
    dark = Image.fromarray(np.full((4, 4), 257 * 3, np.uint16))
    assert np.asarray(to_rgb8(dark)).max() == 3
    assert np.asarray(to_rgb8(Image.fromarray(np.full((4, 4), 0.5, np.float32)))).max() == 128
    assert np.asarray(to_rgb8(Image.fromarray(np.full((4, 4), 200.0, np.float32)))).max() == 200


def test_crop_is_central_and_exif_is_obeyed() -> None:
    wide = np.zeros((4, 12, 3), np.uint8)
    wide[:, 4:8] = 255
    assert np.asarray(fit_square(Image.fromarray(wide), 4)).min() == 255
    turned = Image.new("RGB", (4, 8))
    exif = turned.getexif()
    exif[0x0112] = 6  # rotate by 90 degrees
    buffer = io.BytesIO()
    turned.save(buffer, "JPEG", exif=exif)
    assert to_rgb8(Image.open(buffer)).size == (8, 4)


def test_pixel_conversions_are_inverse() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert torch.equal(to_uint8(to_float(pixels)), pixels)
    assert to_float(pixels).min() == -1
    assert to_float(pixels).max() == 1
    assert to_uint8(torch.tensor([-5.0, 5.0])).tolist() == [0, 255]


def test_a_damaged_label_file_in_a_zip(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "set.zip", {"a.png": png(colour(1)), "dataset.json": b'{"labels": []}'})
    content = path.read_bytes()
    path.write_bytes(content.replace(b'{"labels": []}', b'{"labels": {}}'))  # its checksum is another's now
    with pytest.raises(UserError, match=r"dataset\.json cannot be read"):
        ImageSet(path)


def test_linked_folders_belong_to_a_set_and_hidden_ones_do_not(tmp_path: Path) -> None:
    folder, other = tmp_path / "set", tmp_path / "other"
    for path in (folder, folder / ".thumbnails", folder / "a", other):
        path.mkdir(exist_ok=True)
        (path / "x.png").write_bytes(png(colour(1)))
    (folder / "link").symlink_to(other)
    (folder / "a" / "up").symlink_to(folder)  # which must not go round for ever
    assert ImageSet(folder).names == ["a/x.png", "link/x.png", "x.png"]


def test_a_set_is_identified_by_names_in_any_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(colour(1)))
    found = [data_sha256(str(tmp_path))]
    os.link(tmp_path / "a.png", os.fsencode(tmp_path) + b"/caf\xe9.png")  # Latin-1, not UTF-8
    found.append(data_sha256(str(tmp_path)))
    assert len(set(found)) == 2
    assert found[1] == data_sha256(str(tmp_path))
