"""Fashion-MNIST from its idx files: 70,000 grey photographs of clothes, 28 px, in 10 classes.

Source: Xiao, Rasul, Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms", 2017;
MIT licence.
"""

from __future__ import annotations

import filecmp
import gzip
import io
import json
import math
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from distilgan.errors import UserError
from distilgan.files import new_file

CLASSES = ["T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"]
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package `dataset-fashion-mnist` puts the files."""
VALIDATION = 5000
"""The last so many training images are kept apart, to choose settings by."""
_SIDE, _SIZE = 28, 32


def write_fashion_mnist(out: Path, source: Path | None = None, limit: int | None = None) -> dict[str, int]:
    """Write train.zip, validation.zip and test.zip into the folder `out`; returns how many images each holds.

    The pictures get a black margin of 2 px, so that they are 32 px wide.

    Args:
        source: folder with the four idx files, packed or not; default: where Debian's package puts them.
        limit: the first so many images of each class only; the packaged set has 500 for training and 200 for testing.

    Raises:
        UserError: missing, damaged or contradictory files, or other ones in `out`.
    """
    source = source or DEBIAN
    sets = {"train": _read(source, "train"), "test": _read(source, "t10k")}
    images, labels = sets["train"]
    if len(images) <= VALIDATION:
        raise UserError(
            f"{source}: {len(images)} train images, of which {VALIDATION} are kept for validation; give the whole set"
        )
    sets["train"], sets["validation"] = (
        (images[:-VALIDATION], labels[:-VALIDATION]),
        (images[-VALIDATION:], labels[-VALIDATION:]),
    )
    out.mkdir(parents=True, exist_ok=True)
    counts = {}
    for name in ("train", "validation", "test"):
        images, labels = sets[name]
        chosen = _first_of_each(labels, limit) if limit else np.arange(len(labels))
        _write(out / f"{name}.zip", images[chosen], labels[chosen])
        counts[name] = len(chosen)
    return counts


def _read(folder: Path, prefix: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    images = _idx(folder, f"{prefix}-images-idx3-ubyte", 3)
    labels = _idx(folder, f"{prefix}-labels-idx1-ubyte", 1)
    if images.shape[1:] != (_SIDE, _SIDE):
        raise UserError(f"{folder}: {prefix} images are {images.shape[2]}x{images.shape[1]} px; expected 28x28")
    if len(images) != len(labels):
        raise UserError(
            f"{folder}: {len(images)} {prefix} images but {len(labels)} labels; the files belong to different sets"
        )
    if not len(labels):
        raise UserError(f"{folder}: holds no {prefix} images; fetch the files again")
    if labels.max() >= len(CLASSES):
        raise UserError(f"{folder}: {prefix} labels reach {labels.max()}; Fashion-MNIST has the classes 0 to 9")
    return images, labels


def _idx(folder: Path, name: str, dimensions: int) -> NDArray[np.uint8]:
    """The array in an idx file: two zero bytes, type 8 (uint8), the number of dimensions, the sizes, the values."""
    path = next((p for p in (folder / f"{name}.gz", folder / name) if p.is_file()), None)
    if path is None:
        raise UserError(
            f"{folder}: no {name} or {name}.gz; install Debian's package dataset-fashion-mnist, or give the folder of the "
            "idx files with --source"
        )
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: not a gzip file, or a damaged one ({error}); fetch it again") from error
    start = 4 + 4 * dimensions
    header = [int(word) for word in np.frombuffer(content[:start], ">u4")] if len(content) >= start else []
    if not header or header[0] != 0x800 + dimensions:
        raise UserError(f"{path}: not an idx file of {dimensions} dimensions, or a damaged one; fetch it again")
    values = np.frombuffer(content, np.uint8, offset=start)
    if len(values) != math.prod(header[1:]):
        raise UserError(
            f"{path}: {len(values)} values where {'x'.join(map(str, header[1:]))} are announced; fetch it again"
        )
    return values.reshape(header[1:])


def _first_of_each(labels: NDArray[np.uint8], limit: int) -> NDArray[np.int64]:
    return np.sort(np.concatenate([np.flatnonzero(labels == c)[:limit] for c in range(len(CLASSES))]))


def _write(path: Path, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
    """A zip in the layout of StyleGAN's dataset tool; the same images are the same file."""
    margin = (_SIZE - _SIDE) // 2
    with new_file(path) as partial:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            names = [f"{i // 1000:05d}/img{i:08d}.webp" for i in range(len(images))]
            for name, pixels in zip(names, images, strict=True):
                buffer = io.BytesIO()
                Image.fromarray(np.pad(pixels, margin)).save(buffer, "WEBP", lossless=True, method=4)
                archive.writestr(zipfile.ZipInfo(name), buffer.getvalue())
            tree = {"labels": [[n, int(c)] for n, c in zip(names, labels, strict=True)], "classes": CLASSES}
            archive.writestr(zipfile.ZipInfo("dataset.json"), json.dumps(tree))
        if path.exists() and not filecmp.cmp(path, partial, shallow=False):
            raise UserError(f"{path}: exists already and holds something else; choose another folder")
