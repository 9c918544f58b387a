"""The pair store: a teacher's latents, classes and pictures on disk, so that a student needs them and not the teacher.

    STORE/manifest.json            what made it, from what distribution, how many, finished or not
    STORE/shard-00000/             images.npy uint8 [n, 3, R, R], latents.npy float32 [n, *shape], labels.npy int64 [n]

Any teacher fits whose picture is a function of a latent and a class; the latent may be an image [C, R, R], as a diffusion
model in pixel space starts from.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from distilgan.data.labels import MAX_CLASSES
from distilgan.data.sampler import WINDOW
from distilgan.errors import UserError
from distilgan.files import new_folder, write_atomic
from distilgan.networks.latents import LatentSpec

FORMAT = 1
MAX_COUNT, MAX_SHARDS = 10**9, 10**5
_ARRAYS: dict[str, type[np.generic]] = {"images": np.uint8, "latents": np.float32, "labels": np.int64}
_BLOCK = 2**25  # bytes of an array that are in memory at a time, unless one row is larger
_ROWS = 4096  # of a shard's latents that opening looks at, at most: the first and last, and some between
_LOOK = 2**26  # bytes of latents that opening looks at in all, but for four rows of each shard


@dataclass(frozen=True)
class Manifest:
    """What a store holds and what made it.

    Args:
        latent: what the latents were drawn from. truncation: at which the teacher was called with them.
        num_classes: of the teacher; `classes` are those drawn (None: all), uniformly.
        count, shard_size: pairs in all, and in each shard but the last. seed: each shard's numbers follow from (seed, shard).
        teacher: as it was named; `teacher_sha256` identifies it, None for one that distilgan never had.
        finished: whether all shards are there.
        content_sha256: of imported latents, labels and images (`hash_arrays`); None for drawn ones, which follow from the rest.

    Raises:
        ValueError: another format, or numbers out of range.
    """

    latent: LatentSpec
    num_classes: int
    resolution: int
    count: int
    shard_size: int
    seed: int | None = None
    truncation: float = 1.0
    classes: list[int] | None = None
    teacher: str = ""
    teacher_sha256: str | None = None
    licence: str = ""
    finished: bool = False
    format: int = FORMAT
    content_sha256: str | None = None

    def __post_init__(self) -> None:
        if self.format != FORMAT:
            raise ValueError(f"format={self.format}: this distilgan reads format {FORMAT}")
        if min(self.num_classes, self.resolution, self.shard_size) < 1:
            raise ValueError("num_classes, resolution and shard_size must be at least 1")
        if self.num_classes > MAX_CLASSES:
            raise ValueError(f"num_classes must be at most {MAX_CLASSES:,}")
        if not 1 <= self.count <= MAX_COUNT:
            raise ValueError(f"count must be 1 to {MAX_COUNT:,} pairs")
        if self.count > MAX_SHARDS * self.shard_size:
            raise ValueError(
                f"shard_size={self.shard_size} would make more than {MAX_SHARDS:,} shards; it must be larger"
            )

    @property
    def shards(self) -> list[int]:
        """Pairs in each shard."""
        whole, rest = divmod(self.count, self.shard_size)
        return [self.shard_size] * whole + [rest] * (rest > 0)

    @property
    def determinants(self) -> dict[str, Any]:
        """What the pairs follow from: all but names, terms and state."""
        return {k: v for k, v in asdict(self).items() if k not in ("teacher", "licence", "finished", "format")}

    @property
    def identity(self) -> str:
        """SHA-256 of what determines the pairs: two stores with one identity hold the same (but for a grey level)."""
        return hashlib.sha256(json.dumps(self.determinants, sort_keys=True).encode()).hexdigest()


def shard_folder(store: Path, index: int) -> Path:
    return store / f"shard-{index:05d}"


def read_manifest(store: Path) -> Manifest:
    """The manifest of a store.

    Raises:
        UserError: there is none, or a damaged one.
    """
    path = store / "manifest.json"
    if not path.is_file():
        raise UserError(f"{store}: not a store of pairs (no manifest.json); make one with `distilgan data pairs`")
    try:
        return TypeAdapter(Manifest).validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        key = "".join(f"{part}: " for part in first["loc"])
        raise UserError(f"{path}: {key}{first['msg'].removeprefix('Value error, ')}; make the store again") from error


def write_manifest(store: Path, manifest: Manifest) -> None:
    write_atomic(store / "manifest.json", json.dumps(asdict(manifest), indent=1) + "\n")


def write_shard(store: Path, index: int, images: NDArray[Any], latents: NDArray[Any], labels: NDArray[Any]) -> None:
    """Write one shard whole, in the store's types, a block at a time; one that is there meanwhile is kept."""
    try:
        with new_folder(shard_folder(store, index)) as folder:
            for (name, kind), array in zip(_ARRAYS.items(), (images, latents, labels), strict=True):
                facts = {"descr": np.dtype(kind).str, "fortran_order": False, "shape": array.shape}
                with open(folder / f"{name}.npy", "wb") as file:
                    np.lib.format.write_array_header_1_0(file, facts)
                    for block in blocks(array, kind):
                        file.write(block.data)
    except FileExistsError:  # a process that has lost its parent and its lock wrote the same
        return


def missing_shards(store: Path, manifest: Manifest) -> list[int]:
    """Numbers of the shards that are not written yet."""
    return [i for i in range(len(manifest.shards)) if not shard_folder(store, i).is_dir()]


def open_array(path: Path, cure: str) -> NDArray[Any]:
    """Map the array of an .npy file into memory.

    Args:
        cure: of a missing or damaged file.

    Raises:
        UserError: no such file, a damaged one, or no leave or means to read it now, which says nothing about the file.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; {cure}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror or error}); mend that and try again") from error
    except (ValueError, EOFError, OverflowError) as error:
        raise UserError(f"{path}: not an .npy file of numbers, or a damaged one ({error}); {cure}") from error
    if not isinstance(array, np.ndarray) or array.ndim == 0:
        raise UserError(f"{path}: not an .npy file with one array; {cure}")
    return array


def blocks(
    array: NDArray[Any], kind: type[np.generic], rows: NDArray[np.int64] | None = None
) -> Iterator[NDArray[Any]]:
    """`array` [N, ...], or the given rows of it, as contiguous blocks of rows of type `kind`."""
    count = len(array) if rows is None else len(rows)
    step = max(1, _BLOCK // max(1, array[:1].nbytes))
    for start in range(0, count, step):
        part = array[start : start + step] if rows is None else array[rows[start : start + step]]
        with np.errstate(over="ignore"):  # becomes infinity, which is looked for
            yield np.ascontiguousarray(part, kind)


def hash_arrays(latents: Iterable[NDArray[Any]], labels: Iterable[NDArray[Any]], images: Iterable[NDArray[Any]]) -> str:
    """SHA-256 of all latents, then all labels, then all images, in the store's types; parts may be of any length."""
    digest = hashlib.sha256()
    for name, parts in (("latents", latents), ("labels", labels), ("images", images)):
        for part in parts:
            for block in blocks(part, _ARRAYS[name]):
                digest.update(block.data)
    return digest.hexdigest()


class PairStore:
    """A finished store, checked on opening; item `i` is (z, class, uint8 picture), read from disk when asked for.

    Args:
        full: look at every latent instead of some of each shard, and compare the content with its hash, if there is one.

    Raises:
        UserError: no store, half written, sizes that do not fit the manifest, classes out of range, latents that are constant
            or not finite, moments that contradict the declared distribution, or (full) another content.
    """

    def __init__(self, path: str | Path, *, full: bool = False) -> None:
        self.path = Path(path)
        self.manifest = read_manifest(self.path)
        self.shards: Sequence[int] = self.manifest.shards
        if not self.manifest.finished:
            missing = len(missing_shards(self.path, self.manifest))
            raise UserError(
                f"{self.path}: half written, {missing} of {len(self.shards)} shards are missing; give the command that "
                "makes it again to finish it"
            )
        self._first = np.cumsum([0, *self.shards])
        self._open: dict[int, tuple[NDArray[Any], ...]] = {}  # the least recently used first
        self._check(full)

    @property
    def identity(self) -> str:
        """The manifest's."""
        return self.manifest.identity

    @property
    def labels(self) -> list[int]:
        """Class of every pair, in order."""
        return [label for part in self._column("labels") for label in part.tolist()]

    def __len__(self) -> int:
        return self.manifest.count

    def __getitem__(self, index: int) -> tuple[Tensor, int, Tensor]:
        shard = int(np.searchsorted(self._first, index, side="right")) - 1
        images, latents, labels = self._arrays(shard)
        row = index - int(self._first[shard])
        return torch.from_numpy(latents[row].copy()), int(labels[row]), torch.from_numpy(images[row].copy())

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}  # a worker maps the files itself

    def _arrays(self, shard: int) -> tuple[NDArray[Any], ...]:
        """Images, latents and labels of a shard. Only as many stay open as the shuffle mixes: an open map is an open file."""
        arrays = self._open.pop(shard, None)
        if arrays is None:
            if len(self._open) > WINDOW:
                del self._open[next(iter(self._open))]
            folder = shard_folder(self.path, shard)
            cure = f"delete {folder} and give the command that makes the store again"
            arrays = tuple(open_array(folder / f"{name}.npy", cure) for name in _ARRAYS)
        self._open[shard] = arrays
        return arrays

    def _column(self, name: str) -> Iterator[NDArray[Any]]:
        position = list(_ARRAYS).index(name)
        return (self._arrays(shard)[position] for shard in range(len(self.shards)))

    def _check(self, full: bool) -> None:
        m, look = self.manifest, LatentCheck(self.manifest.latent)
        shapes = {"images": (3, m.resolution, m.resolution), "latents": tuple(m.latent.shape), "labels": ()}
        share = _LOOK // (len(self.shards) * 4 * math.prod(m.latent.shape))
        for shard, n in enumerate(self.shards):
            folder, arrays = shard_folder(self.path, shard), self._arrays(shard)
            for (name, kind), array in zip(_ARRAYS.items(), arrays, strict=True):
                if array.dtype != kind or array.shape != (n, *shapes[name]):
                    raise UserError(
                        f"{folder / name}.npy: {array.dtype} {list(array.shape)}, expected {np.dtype(kind)} "
                        f"{[n, *shapes[name]]}; delete {folder} and give the command that makes the store again"
                    )
            _, latents, labels = arrays
            check_labels(str(folder / "labels.npy"), labels, m.num_classes)
            look.add(str(folder / "latents.npy"), latents, None if full else _some_rows(n, min(_ROWS, max(4, share))))
        look.finish(str(self.path))
        if not full or m.content_sha256 is None:
            return
        if hash_arrays(*map(self._column, ("latents", "labels", "images"))) != m.content_sha256:
            raise UserError(f"{self.path}: its arrays are not those that were imported; make the store again")


class LatentCheck:
    """Whether latents can have been drawn from `latent`: looks at some, then at the moments of all that it saw."""

    def __init__(self, latent: LatentSpec) -> None:
        self.latent = latent
        self._count, self._total, self._squares = 0, 0.0, 0.0

    def add(self, name: str, z: NDArray[Any], rows: NDArray[np.int64] | None = None) -> None:
        """Look at latents [N, *shape], or at some rows of them, as float32.

        Raises:
            UserError: a row holds NaN or infinity, or one number throughout (which a vector of one number may).
        """
        seen = 0
        for block in blocks(z, np.float32, rows):
            flat = block.reshape(len(block), -1).astype(np.float64)
            wrong = {
                "NaN or infinity": ~np.isfinite(flat).all(1),
                "one number throughout, so its picture was made from another latent": (flat == flat[:, :1]).all(1)
                & (flat.shape[1] > 1),
            }
            for what, found in wrong.items():
                if found.any():
                    row = seen + int(found.argmax())
                    raise UserError(
                        f"{name}: row {row if rows is None else rows[row]} holds {what}; make the pairs again"
                    )
            seen += len(flat)
            self._count += flat.size
            self._total += float(flat.sum())
            self._squares += float(np.square(flat).sum())

    def finish(self, name: str) -> None:
        """Compare mean and variance with those of the distribution.

        They may be off by six standard errors, or 1 % of the deviation for numbers of limited precision.

        Raises:
            UserError: they are further off.
        """
        mean, variance = self.latent.moments
        found_mean = self._total / self._count
        found_variance = self._squares / self._count - found_mean**2
        slack = max(6 / self._count**0.5, 0.01)
        if abs(found_mean - mean) > slack * variance**0.5 or abs(found_variance - variance) > 2 * slack * variance:
            raise UserError(
                f"{name}: latents have mean {found_mean:.3f} and variance {found_variance:.3f}, but {self.latent.words} has "
                f"{mean:.3f} and {variance:.3f}; they were drawn from another distribution than the one declared"
            )


def check_labels(name: str, labels: NDArray[Any], num_classes: int) -> None:
    """Raise UserError unless all class numbers [N] are those of a teacher with so many classes."""
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        raise UserError(
            f"{name}: class {low if low < 0 else high} is out of range; the teacher has the classes 0 to {num_classes - 1}"
        )


def _some_rows(n: int, rows: int) -> NDArray[np.int64] | None:
    """Rows to look at: the first and last quarter of `rows`, where writers go wrong, and evenly between; None: all."""
    if n <= rows:
        return None
    edge = rows // 4
    middle = np.linspace(edge, n - edge - 1, rows - 2 * edge).astype(np.int64)
    return np.unique(np.concatenate([np.arange(edge), middle, np.arange(n - edge, n)]))
