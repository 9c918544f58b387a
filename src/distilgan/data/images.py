"""Image sets: a folder or a zip of any mix of files, as one tensor source.

Reads the layout of StyleGAN's dataset tool (any folders, an optional `dataset.json` with labels) and any other tree of
files whose names end like an image's (`EXTENSIONS`), one folder a class or not. Pixels come out as uint8 RGB [3, R, R].
"""

from __future__ import annotations

import functools
import io
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from distilgan.data.archives import EXTENSIONS, builtin_path, is_hidden, open_files
from distilgan.data.labels import in_turn, read_labels
from distilgan.errors import UserError

T = TypeVar("T")
IN_MEMORY = 2 * 2**30  # bytes of decoded pixels that are kept
_GREY = 2  # levels by which a grey picture's channels may differ


@dataclass(frozen=True)
class Skipped:
    """A file that could not be used, and why."""

    name: str
    reason: str


def to_rgb8(image: Image.Image) -> Image.Image:
    """Any mode to 8-bit RGB: first frame, upright, 16-bit scaled, transparency on white."""
    image.seek(0) if getattr(image, "n_frames", 1) > 1 else None
    image = ImageOps.exif_transpose(image) or image
    if image.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
        values = np.asarray(image, np.float64)
        if not np.isfinite(values).all():
            raise ValueError("holds NaN or infinite values")
        # Integers are 16 bits of grey; floats have no rule, so their size tells 1, 255 or 65535 as white.
        top = 65535.0 if image.mode != "F" else next((t for t in (1.0, 255.0) if values.max(initial=0) <= t), 65535.0)
        return Image.fromarray(np.clip(values / top * 255 + 0.5, 0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def is_grey(pixels: Tensor) -> bool:
    """Whether all channels of a picture uint8 [3, H, W] are alike, to within what compression moves them."""
    return int((pixels.amax(0).int() - pixels.amin(0).int()).max()) <= _GREY


def fit_square(image: Image.Image, resolution: int) -> Image.Image:
    """Centre-crop to a square, then resize with Lanczos; unchanged when it already fits."""
    if image.size == (resolution, resolution):
        return image
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side)).resize((resolution, resolution), Image.Resampling.LANCZOS)


class ImageSet:
    """Images of a folder or zip at one resolution.

    Args:
        path: a folder, a .zip, or builtin:NAME.
        resolution: output size; None takes the first image's shorter side.
        strict: raise on the first unusable file instead of skipping it.
        limit: use the first so many images; of a labelled set the first ones of each class in turn.

    Attributes:
        skipped: the unusable files, named. Filled while decoding; sets that fit into memory are decoded at once.

    Raises:
        UserError: no such path, no images, or (strict) an unusable file.
    """

    def __init__(
        self, path: str | Path, resolution: int | None = None, *, strict: bool = False, limit: int | None = None
    ) -> None:
        self.path = builtin_path(str(path))
        self._source = open_files(self.path)
        names = [n for n in self._source.names if Path(n).suffix.lower() in EXTENSIONS and not is_hidden(n)]
        if not names:
            raise UserError(f"{self.path}: holds no images (looked for {', '.join(sorted(EXTENSIONS))})")
        self.skipped: list[Skipped] = []
        self.strict = strict
        self.names = names
        self._labels = read_labels(
            self.path, names, self._source.read if "dataset.json" in self._source.names else None
        )
        self.resolution = resolution or self._first_size()
        self._pixels: Tensor | None = None
        count = min(limit or len(names), len(names))
        if count * 3 * self.resolution**2 <= IN_MEMORY:
            self._pixels = torch.stack(self._use(self._decode, limit))
        else:
            self._use(self._decode if strict else self._open, limit)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Tensor:
        """uint8 RGB, [3, R, R]. In a set too big for memory a damaged file is replaced by the next whole one of its class."""
        if self._pixels is not None:
            return self._pixels[index]
        label = self._label(self.names[index])
        for name in self.names[index:] + self.names[:index]:
            pixels = self._decode(name) if self._label(name) == label else None
            if pixels is not None:
                return pixels
        raise UserError(f"{self.path}: none of its images can be read any more ({self._first_complaint()})")

    def _label(self, name: str) -> int | None:
        return self._labels.numbers.get(name)

    @property
    def labelled(self) -> bool:
        """Whether each image has a class: in dataset.json, or by the folder that it lies in."""
        return bool(self._labels.numbers)

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, empty where the set has none."""
        return self._labels.names

    @functools.cached_property
    def labels(self) -> Tensor:
        """Class numbers, int64 [len].

        Raises:
            UserError: there are none, or not one for every image.
        """
        if not self.labelled:
            raise UserError(f"{self.path}: has no classes; give labels in dataset.json, or one folder for each class")
        if self._labels.stray is not None:
            raise UserError(
                f"{self.path}: dataset.json has a label for {self._labels.stray}, which is not there; labels and images are "
                "not of one set"
            )
        found = [self._label(name) for name in self.names]
        without = [name for name, label in zip(self.names, found, strict=True) if label is None]
        if without:
            raise UserError(
                f"{self.path}: dataset.json has labels for {len(found) - len(without)} of {len(found)} images; "
                f"{without[0]} has none"
            )
        return torch.tensor(found, dtype=torch.int64)

    @property
    def num_classes(self) -> int:
        """As many as have names, and at least one more than the highest class number."""
        return max(len(self.class_names), int(self.labels.max()) + 1)

    def check_classes(self, count: int, whose: str, every: bool = False) -> None:
        """Raise UserError when the set has no classes, or not those of the generator named `whose`, 0 to `count` - 1.

        Args:
            every: the names must be as many, as folders are numbered in their order: one that is missing shifts the others.
        """
        highest = int(self.labels.max())
        if highest >= count:
            raise UserError(f"{self.path}: has class {highest}, but {whose} only 0 to {count - 1}")
        if every and self.class_names and len(self.class_names) != count:
            raise UserError(
                f"{self.path}: has {len(self.class_names)} classes, {whose} {count}; say in dataset.json which number each "
                "image's class has there"
            )

    def batches(self, size: int, count: int | None = None) -> Iterator[Tensor]:
        """The first `count` images in order, as uint8 batches."""
        total = min(count or len(self), len(self))
        for start in range(0, total, size):
            yield torch.stack([self[i] for i in range(start, min(start + size, total))])

    def check(self) -> None:
        """Decode every file, so that `skipped` is complete also for a set too big for memory."""
        if self._pixels is None:
            self.skipped.clear()
            self._use(self._decode, None)

    def _use(self, read: Callable[[str], T | None], limit: int | None) -> list[T]:
        """Keep the names that `read` can read, the first `limit` of them; what it read is returned."""
        good: dict[str, T] = {}
        names = self.names
        if limit and self.labelled:
            names = [names[i] for i in in_turn([self._labels.numbers.get(name, -1) for name in names])]
        for name in names:
            found = read(name)
            if found is not None:
                good[name] = found
            if limit and len(good) == limit:
                break
        if not good:
            raise UserError(
                f"{self.path}: not one of its images ({len(self.names)}) can be read (the first: {self._first_complaint()})"
            )
        self.names = list(good)
        return list(good.values())

    def _open(self, name: str) -> bool | None:
        """Whether the file starts like a usable image; a set too big for memory is not decoded beforehand."""
        try:
            with Image.open(io.BytesIO(self._source.read(name))) as image:
                refuse_tiny(image)
                image.verify()
        except Exception as error:
            self._complain(name, error)
            return None
        return True

    def _decode(self, name: str) -> Tensor | None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                with Image.open(io.BytesIO(self._source.read(name))) as image:
                    refuse_tiny(image)
                    rgb = fit_square(to_rgb8(image), self.resolution)
            return pixels_of(rgb)
        except Exception as error:  # Pillow raises many kinds; all mean "not a usable image"
            self._complain(name, error)
            return None

    def _complain(self, name: str, error: Exception) -> None:
        reason = complaint(error)
        if self.strict:
            raise UserError(
                f"{self.path}: {name} cannot be used ({reason}); mend or remove it, or read without strict"
            ) from error
        self.skipped.append(Skipped(name, reason))

    def _first_complaint(self) -> str:
        return f"{self.skipped[0].name}: {self.skipped[0].reason}" if self.skipped else "?"

    def _first_size(self) -> int:
        for name in self.names:
            try:
                with Image.open(io.BytesIO(self._source.read(name))) as image:
                    if min(image.size) >= 2:
                        return min(image.size)
            except Exception:  # noqa: S112 - reported when the set is decoded
                continue
        return 8  # none can be read: decoding them says why


def refuse_tiny(image: Image.Image) -> None:
    """Raise ValueError for a picture in which nothing can be seen."""
    if min(image.size) < 2:
        raise ValueError(f"{image.width}x{image.height} pixels is too small")


def read_picture(source: Path | io.BytesIO, most: int | None = None) -> Image.Image:
    """A picture file as upright RGB.

    Args:
        most: pixels, beyond which Pillow refuses it as a bomb; None: Pillow's own bound.

    Raises:
        ValueError: says in one line why it is no usable image.
    """
    bound = Image.MAX_IMAGE_PIXELS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            Image.MAX_IMAGE_PIXELS = most or bound
            with Image.open(source) as image:
                return to_rgb8(image)
    except Exception as error:  # Pillow raises many kinds; all mean "not a usable image"
        raise ValueError(f"not a usable image ({complaint(error)})") from error
    finally:
        Image.MAX_IMAGE_PIXELS = bound


def complaint(error: Exception) -> str:
    """What Pillow has against a file, in one line."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return "not an image, whatever its name says" if "cannot identify image file" in reason else reason


def pixels_of(image: Image.Image) -> Tensor:
    """An RGB image as uint8 [3, H, W]."""
    return torch.from_numpy(np.array(image, np.uint8)).permute(2, 0, 1).contiguous()


def to_float(pixels: Tensor) -> Tensor:
    """uint8 [0, 255] to float [-1, 1]."""
    return pixels.float() / 127.5 - 1


def to_uint8(image: Tensor) -> Tensor:
    """Float [-1, 1] to uint8 [0, 255], rounded and clipped."""
    return (image.float() * 127.5 + 128).clamp(0, 255).to(torch.uint8)
