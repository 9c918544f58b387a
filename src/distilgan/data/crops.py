"""Pictures of any size, of which training sees crops."""

from __future__ import annotations

import copy
import functools
import io
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from distilgan.data.archives import EXTENSIONS, builtin_path, is_hidden, open_files
from distilgan.data.images import IN_MEMORY, Skipped, complaint, pixels_of, refuse_tiny, to_rgb8
from distilgan.errors import UserError

# Of pictures that do not all fit into memory, the last ones used stay.
_KEPT = 64


class CropSet:
    """The pictures of a folder or zip, each kept whole.

    Args:
        path: a folder, a .zip, or builtin:NAME. crop: side of what `crop` gives.
        load: length of the shorter side to which larger pictures are reduced; None: as they are. Those shorter than `crop` are
            enlarged to it.
        zoom: crops show up to so many times the pixels, reduced.
        strict: raise on the first unusable file instead of skipping it. limit: use the first so many.

    Attributes:
        skipped: the unusable files, named.

    Raises:
        UserError: no such path, no images, or (strict) an unusable file.
    """

    def __init__(
        self, path: str | Path, crop: int, load: int | None = None, zoom: float = 1.0, *, strict: bool = False,
        limit: int | None = None,
    ) -> None:  # fmt: skip
        self.path, self.side, self.load, self.zoom = builtin_path(str(path)), crop, load, zoom
        self._source = open_files(self.path)
        names = [n for n in self._source.names if Path(n).suffix.lower() in EXTENSIONS and not is_hidden(n)]
        if not names:
            raise UserError(f"{self.path}: holds no images (looked for {', '.join(sorted(EXTENSIONS))})")
        self.skipped: list[Skipped] = []
        self.names: list[str] = []
        self._pixels: dict[str, Tensor] = {}
        held = 0
        for name in names:
            try:
                pixels = self._decode(name)
            except Exception as error:  # Pillow raises many kinds; all mean "not a usable image"
                reason = complaint(error)
                if strict:
                    raise UserError(f"{self.path}: {name} cannot be used ({reason}); mend or remove it") from error
                self.skipped.append(Skipped(name, reason))
                continue
            self.names.append(name)
            held += pixels.numel()
            if held <= IN_MEMORY:
                self._pixels[name] = pixels
            if limit and len(self.names) == limit:
                break
        if not self.names:
            first = self.skipped[0]
            raise UserError(
                f"{self.path}: not one of its images ({len(names)}) can be read (the first: {first.name}: {first.reason})"
            )
        self._read = functools.lru_cache(_KEPT)(self._decode)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Tensor:
        """The whole picture, uint8 RGB [3, H, W], its shorter side at least the crop's."""
        name = self.names[index]
        return self._pixels[name] if name in self._pixels else self._read(name)

    def hold_out(self, share: float, seed: int) -> tuple[CropSet, CropSet]:
        """Two sets without a common picture, the second of about `share`, one at least.

        Raises:
            UserError: a single picture.
        """
        if len(self) < 2:
            raise UserError(f"{self.path}: a single picture cannot be held out of training; give more")
        count = min(len(self) - 1, max(1, round(share * len(self))))
        order = np.random.default_rng([seed, len(self)]).permutation(len(self)).tolist()
        return self._only(sorted(order[count:])), self._only(sorted(order[:count]))

    def _only(self, indices: Sequence[int]) -> CropSet:
        part = copy.copy(self)
        part.names = [self.names[i] for i in indices]
        return part

    def crop(self, index: int, place: Sequence[float], flip: bool = False) -> Tensor:
        """uint8 [3, side, side] at `place`: down, right and size, each in [0, 1)."""
        return cut_out(self[index], self.side, self.zoom, place, flip)

    def crops(self, each: int) -> Tensor:
        """`each` crops of every picture, spread evenly over its longer side and sizes; uint8 [N, 3, side, side], for measuring."""
        found = []
        for index in range(len(self)):
            for i in range(each):
                # Three sequences of low discrepancy: no picture's crops share a place by chance.
                place = [(0.5 + i * step) % 1 for step in (0.7549, 0.5698, 0.4302)]
                found.append(self.crop(index, place))
        return torch.stack(found)

    def _decode(self, name: str) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(self._source.read(name))) as image:
                refuse_tiny(image)
                return pixels_of(_reduced(to_rgb8(image), self.side, self.load))


def _reduced(image: Image.Image, crop: int, load: int | None) -> Image.Image:
    shorter = min(image.size)
    wanted = max(crop, min(shorter, load or shorter))
    if wanted == shorter:
        return image
    size = tuple(max(wanted, round(side * wanted / shorter)) for side in image.size)
    return image.resize((size[0], size[1]), Image.Resampling.LANCZOS)


def cut_out(pixels: Tensor, side: int, zoom: float, place: Sequence[float], flip: bool) -> Tensor:
    """A square of [C, H, W] at `place`: down, right and size (from `side` to `zoom` times that, as far as it fits)."""
    height, width = pixels.shape[1:]
    taken = int(side + place[2] * max(0.0, min(side * zoom, height, width) - side))
    top, left = int(place[0] * (height - taken + 1)), int(place[1] * (width - taken + 1))
    found = pixels[:, top : top + taken, left : left + taken]
    if taken != side:
        image = Image.fromarray(np.ascontiguousarray(found.permute(1, 2, 0).numpy()))
        found = pixels_of(
            image.resize((side, side), Image.Resampling.BOX if taken == 2 * side else Image.Resampling.BICUBIC)
        )
    return (found.flip(-1) if flip else found).contiguous()


def place_at(seed: int, position: int, stream: int) -> list[float]:
    """Where the crop at `position` of a shuffle lies: numbers in [0, 1) for `cut_out`."""
    found: list[float] = np.random.default_rng([seed, position, stream]).uniform(size=3).tolist()
    return found
