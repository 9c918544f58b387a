"""Photos with their translations: a folder that holds `photo/` and `style/` with files of the same names."""

from __future__ import annotations

import csv
import functools
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from torch import Tensor

from distilgan.data.archives import EXTENSIONS, Folder, Zip, builtin_path, is_hidden, open_files
from distilgan.data.crops import cut_out
from distilgan.data.images import complaint, pixels_of, to_rgb8
from distilgan.errors import UserError

PHOTO, STYLE, MANIFEST = "photo", "style", "manifest.csv"
# Layouts of others: Scenimefy's and pix2pix's.
_SIDES = ((PHOTO, STYLE), ("trainA", "trainB"), ("A", "B"))
_KEPT = 256


class TranslationPairs:
    """Pairs below a folder or .zip, of which those that manifest.csv says are not kept are left out.

    Both pictures of a pair give the same crop, flipped alike.

    Raises:
        UserError: no such path, a photo or a translation whose partner is missing, pictures of different sizes, a damaged
            manifest, or none left.
    """

    def __init__(self, path: str | Path, crop: int, zoom: float = 1.0, limit: int | None = None) -> None:
        self.path, self.side, self.zoom = builtin_path(str(path)), crop, zoom
        self._source = open_files(self.path)
        first, second = self._sides()
        photos, styles = (_by_stem(self._source.names, side) for side in (first, second))
        for mine, others, where in ((photos, styles, second), (styles, photos, first)):
            alone = sorted(set(mine) - set(others))
            if alone:
                raise UserError(
                    f"{self.path}: {mine[alone[0]]} has no partner in {where}/ ({len(alone)} of {len(mine)} have none); add "
                    "what is missing or remove it"
                )
        kept = _kept(self.path, self._source)
        self.names = [stem for stem in sorted(photos) if kept is None or stem in kept][:limit]
        if not self.names:
            raise UserError(f"{self.path}: holds no pairs" + ("" if kept is None else f" that {MANIFEST} keeps"))
        self._files = {stem: (photos[stem], styles[stem]) for stem in self.names}
        self._read = functools.lru_cache(_KEPT)(self._decode)
        for stem in self.names:
            self._check(stem)

    def __len__(self) -> int:
        return len(self.names)

    def crop(self, index: int, place: Sequence[float], flip: bool = False) -> tuple[Tensor, Tensor]:
        """Photo and translation, uint8 [3, side, side] each, of one place."""
        photo, style = self._read(self.names[index])
        cut = functools.partial(cut_out, side=self.side, zoom=self.zoom, place=place, flip=flip)
        return cut(photo), cut(style)

    def _sides(self) -> tuple[str, str]:
        tops = {name.split("/")[0] for name in self._source.names if "/" in name}
        for sides in _SIDES:
            if set(sides) <= tops:
                return sides
        for sides in _SIDES:
            missing = set(sides) - tops
            if len(missing) == 1:
                raise UserError(f"{self.path}: has no folder {missing.pop()}/ beside the other side of its pairs")
        raise UserError(f"{self.path}: no pairs (looked for {', '.join('/ and '.join(s) + '/' for s in _SIDES)})")

    def _check(self, stem: str) -> None:
        """Sizes, without decoding."""
        sizes = []
        for name in self._files[stem]:
            try:
                with Image.open(io.BytesIO(self._source.read(name))) as image:
                    sizes.append(image.size)
            except Exception as error:
                raise self._unreadable(name, error) from error
        if sizes[0] != sizes[1]:
            shapes = " and ".join(f"{w}x{h}" for w, h in sizes)
            raise UserError(f"{self.path}: the pictures of {stem} have different sizes, {shapes}; make the pair again")
        if min(sizes[0]) < self.side:
            raise UserError(
                f"{self.path}: {stem} is {sizes[0][0]}x{sizes[0][1]}, smaller than data.resolution={self.side}; lower that"
            )

    def _unreadable(self, name: str, error: Exception) -> UserError:
        return UserError(f"{self.path}: {name} cannot be read ({complaint(error)}); make the pair again")

    def _decode(self, stem: str) -> tuple[Tensor, Tensor]:
        found = []
        for name in self._files[stem]:
            try:
                with Image.open(io.BytesIO(self._source.read(name))) as image:
                    found.append(pixels_of(to_rgb8(image)))
            except Exception as error:
                raise self._unreadable(name, error) from error
        return found[0], found[1]


def _by_stem(names: list[str], side: str) -> dict[str, str]:
    """Names below a folder, by what is left of them without it and the ending."""
    found = {}
    for name in names:
        top, _, rest = name.partition("/")
        if top == side and Path(rest).suffix.lower() in EXTENSIONS and not is_hidden(name):
            found[str(Path(rest).with_suffix(""))] = name
    return found


def _kept(path: Path, source: Folder | Zip) -> set[str] | None:
    """Which pairs the manifest keeps; None without one."""
    if MANIFEST not in source.names:
        return None
    rows = list(csv.DictReader(io.StringIO(source.read(MANIFEST).decode(errors="replace"), newline="")))
    if not rows or not {"name", "kept"} <= set(rows[0]):
        raise UserError(f"{path / MANIFEST}: expected columns name and kept; make the pairs again")
    return {row["name"] for row in rows if row["kept"] == "yes"}
