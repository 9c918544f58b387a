"""Classes of images: from dataset.json or from folders, all or none."""

from __future__ import annotations

import gzip
import json
import struct
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from distilgan.data.fashion_mnist import CLASSES, write_fashion_mnist
from distilgan.data.feed import Feed
from distilgan.data.grid import real_row
from distilgan.data.images import ImageSet
from distilgan.errors import UserError


def picture(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(path)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for i in range(6):
        picture(tmp_path / ["zebra", "ant"][i % 2] / "deep" / f"{i}.png", 10 * i)
    return tmp_path


def test_one_folder_a_class(folders: Path) -> None:
    images = ImageSet(folders, 8)
    assert images.class_names == ["ant", "zebra"]
    values = [int(images[i][0, 0, 0]) // 10 for i in range(6)]
    assert images.labels.tolist() == [1 - v % 2 for v in values]
    assert images.num_classes == 2


def test_a_picture_beside_the_folders_means_no_classes(folders: Path) -> None:
    picture(folders / "loose.png", 1)
    images = ImageSet(folders, 8)
    assert not images.labelled
    with pytest.raises(UserError, match=r"has no classes; give labels in dataset\.json, or one folder"):
        _ = images.labels


def test_the_folders_of_stylegans_dataset_tool_are_no_classes(tmp_path: Path) -> None:
    for i in (0, 999, 1000):
        picture(tmp_path / f"{i // 1000:05d}" / f"img{i:08d}.png", i % 255)
    assert not ImageSet(tmp_path, 8).labelled
    picture(tmp_path / "00001" / "cat.png", 1)
    assert ImageSet(tmp_path, 8).labelled


def test_classes_that_a_generator_lacks_are_refused(folders: Path) -> None:
    images = ImageSet(folders, 8)
    images.check_classes(2, "it")
    with pytest.raises(UserError, match="has class 1, but it only 0 to 0"):
        images.check_classes(1, "it")


def test_a_damaged_file_is_replaced_within_its_class(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distilgan.data.images.IN_MEMORY", 0)
    images = ImageSet(folders, 8)
    assert images.labels.tolist() == [0, 0, 0, 1, 1, 1]  # ants 1, 3, 5, zebras 0, 2, 4
    (folders / "ant" / "deep" / "5.png").write_bytes(b"")
    assert int(images[2][0, 0, 0]) // 10 in (1, 3)


def test_labels_reach_the_batches_and_mirroring_keeps_them(folders: Path) -> None:
    feed = Feed(ImageSet(folders, 8), labelled=True)
    for batch in islice(feed.batches(4, 0, mirror=True), 5):
        assert batch.labels is not None
        values = batch.images[:, 0, 0, 0] // 10
        assert torch.equal(batch.labels, 1 - values.long() % 2)


def test_a_limit_keeps_all_classes(folders: Path) -> None:
    assert sorted(ImageSet(folders, 8, limit=2).labels.tolist()) == [0, 1]
    assert sorted(ImageSet(folders, 8, limit=4).labels.tolist()) == [0, 0, 1, 1]


def test_the_real_row_shows_the_wanted_classes(folders: Path) -> None:
    images = ImageSet(folders, 8)
    row = real_row(images, 4, torch.tensor([1, 0, 1, 0]))
    assert [int(p[0, 0, 0]) // 10 % 2 for p in row] == [0, 1, 0, 1]
    assert not torch.equal(row[0], row[2])
    assert len(real_row(images, 3, torch.tensor([0, 7, 0]))) == 3  # a class that the set does not have


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([["a.png", 0]], r"labels for 1 of 2 images; b\.png has none"),
        ([["a.png", 0], ["b.png", 1], ["c.png", 1]], r"has a label for c\.png, which is not there"),
        ([["a.png", 0], ["b.png", -1]], "-1 is not a class number"),
        ([["a.png", 0], ["b.png", "cat"]], "'cat' is not a class number"),
        ([["a.png", 0], ["b.png", [0, 2]]], r"\[0, 2\] is not a class number"),
    ],
)
def test_labels_that_do_not_fit(tmp_path: Path, labels: object, message: str) -> None:
    for name in ("a", "b"):
        picture(tmp_path / f"{name}.png", 1)
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
    with pytest.raises(UserError, match=message):
        _ = ImageSet(tmp_path, 8).labels


def test_one_hot_labels_are_numbers(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 1)
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": [["a.png", [0, 0, 1]]]}))
    assert ImageSet(tmp_path, 8).labels.tolist() == [2]


# -- Fashion-MNIST ----------------------------------------------------------------------------------------------------


def idx(path: Path, array: np.ndarray, packed: bool) -> None:
    content = struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()
    if packed:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(content))
    else:
        path.write_bytes(content)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("distilgan.data.fashion_mnist.VALIDATION", 10)
    folder = tmp_path / "idx"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for prefix, n in (("train", 40), ("t10k", 20)):
        idx(folder / f"{prefix}-images-idx3-ubyte", rng.integers(0, 255, (n, 28, 28), dtype=np.uint8), n == 40)
        idx(folder / f"{prefix}-labels-idx1-ubyte", (np.arange(n) % 10).astype(np.uint8), n == 40)
    return folder


def test_fashion_mnist(source: Path, tmp_path: Path) -> None:
    counts = write_fashion_mnist(tmp_path / "out", source)
    assert counts == {"train": 30, "validation": 10, "test": 20}
    images = ImageSet(tmp_path / "out" / "test.zip")
    assert images.resolution == 32
    assert images.class_names == CLASSES
    assert images.labels.tolist() == [i % 10 for i in range(20)]
    content = (source / "t10k-images-idx3-ubyte").read_bytes()[16:]
    original = np.frombuffer(content, np.uint8).reshape(20, 28, 28)
    assert np.array_equal(images[7][1, 2:-2, 2:-2].numpy(), original[7])
    assert int(images[7][:, :2].max()) == 0
    again = tmp_path / "again"
    write_fashion_mnist(again, source)
    assert (again / "train.zip").read_bytes() == (tmp_path / "out" / "train.zip").read_bytes()
    assert write_fashion_mnist(tmp_path / "less", source, limit=1) == {"train": 10, "validation": 10, "test": 10}
    assert write_fashion_mnist(again, source) == counts
    before = (again / "train.zip").read_bytes()
    with pytest.raises(UserError, match=r"train\.zip: exists already and holds something else"):
        write_fashion_mnist(again, source, limit=1)
    assert (again / "train.zip").read_bytes() == before
    assert {p.name for p in again.iterdir()} == {"train.zip", "validation.zip", "test.zip"}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def whole(source: Path, prefix: str, n: int) -> None:
    """A set of `n` images."""
    for kind, array in (("images-idx3", np.zeros((n, 28, 28), np.uint8)), ("labels-idx1", np.zeros(n, np.uint8))):
        idx(source / f"{prefix}-{kind}-ubyte", array, packed=prefix == "train")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s: (s / "t10k-labels-idx1-ubyte").unlink(), "no t10k-labels-idx1-ubyte or .* dataset-fashion-mnist"),
        (lambda s: cut(s / "t10k-images-idx3-ubyte"), "15675 values where 20x28x28 are announced"),
        (lambda s: cut(s / "train-images-idx3-ubyte.gz"), "not a gzip file, or a damaged one"),
        (lambda s: (s / "t10k-labels-idx1-ubyte").write_bytes(b"\0" * 28), "not an idx file"),
        (lambda s: (s / "t10k-labels-idx1-ubyte").write_bytes(b"\0\0\x08\1\0"), "t10k-labels.*not an idx file"),
        (lambda s: whole(s, "train", 10), "10 train images, of which 10 are kept for validation; give the whole set"),
        (lambda s: whole(s, "t10k", 0), "holds no t10k images"),
        (lambda s: idx(s / "t10k-labels-idx1-ubyte", np.zeros(19, np.uint8), False), "20 t10k images but 19 labels"),
        (lambda s: idx(s / "t10k-labels-idx1-ubyte", np.full(20, 11, np.uint8), False), "labels reach 11"),
    ],
)
def test_idx_files_that_do_not_fit(source: Path, tmp_path: Path, damage: object, message: str) -> None:
    damage(source)  # type: ignore[operator]
    with pytest.raises(UserError, match=message):
        write_fashion_mnist(tmp_path / "out", source)
    assert not (tmp_path / "out").exists()
