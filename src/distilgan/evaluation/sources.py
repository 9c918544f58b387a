"""Where pictures come from: a run, a generator's folder, an ONNX file or a folder of images, all behind one face."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from distilgan.data.grid import VISIBLE, picture_grid
from distilgan.data.images import EXTENSIONS, ImageSet, builtin_path, to_uint8
from distilgan.errors import UserError
from distilgan.evaluation.onnx_session import open_session
from distilgan.networks.families import load_generator
from distilgan.networks.stylegan2 import StyleGAN2
from distilgan.runs import generator_folder, is_run

BATCH = 16


class Source(Protocol):
    """Pictures in batches, square, `resolution` px; `generated` says whether they are a function of latents."""

    name: str
    generated: bool

    @property
    def resolution(self) -> int: ...

    def pixels(self, count: int, seed: int) -> Iterator[Tensor]:
        """uint8 batches [n, 3, R, R], `count` pictures in all at most."""
        ...


def latents(z_dim: int, count: int, seed: int) -> Iterator[Tensor]:
    """z ~ N(0, I) in batches of 16: the same numbers for every source with the same `seed`."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(count, z_dim, generator=generator)
    yield from torch.split(z, BATCH)


@dataclass
class Folder:
    """Images on disk."""

    images: ImageSet
    name: str
    generated: bool = False

    @property
    def resolution(self) -> int:
        return self.images.resolution

    def pixels(self, count: int, seed: int) -> Iterator[Tensor]:
        return self.images.batches(BATCH, count)


@dataclass
class Generator:
    """A torch generator; stored noise fields, so that a picture is a function of z alone."""

    network: StyleGAN2
    name: str
    device: str = "cpu"
    truncation: float = 1.0
    generated: bool = True

    def __post_init__(self) -> None:
        self.network = self.network.to(self.device).eval()

    @property
    def z_dim(self) -> int:
        return self.network.config.z_dim

    @property
    def resolution(self) -> int:
        return self.network.config.resolution

    @torch.no_grad()
    def images(self, z: Tensor) -> Tensor:
        """[n, z_dim] -> [n, 3, R, R] in [-1, 1] and a little beyond, on the CPU."""
        images: Tensor = self.network(z.to(self.device), truncation=self.truncation)
        return images.cpu()

    def pixels(self, count: int, seed: int) -> Iterator[Tensor]:
        return (to_uint8(self.images(z)) for z in latents(self.z_dim, count, seed))


@dataclass
class OnnxFile:
    """An exported generator in ONNX Runtime."""

    path: Path
    name: str
    threads: int | None = None
    truncation: float = 1.0
    generated: bool = True

    def __post_init__(self) -> None:
        self.session = open_session(self.path, self.threads)
        inputs = {i.name: i for i in self.session.get_inputs()}
        image = self.session.get_outputs()[0]
        self._takes_truncation = "truncation" in inputs
        known = inputs.keys() <= {"z", "truncation"}
        match _float_sizes(inputs.get("z")), _float_sizes(image):
            case (None, int(z_dim)), (None, 3, int(height), int(width)) if height == width and known:
                self.z_dim, self.resolution = z_dim, height
            case _:
                found = ", ".join(f"{i.name} {i.type} {i.shape}" for i in [*inputs.values(), image])
                raise UserError(
                    f"{self.path}: expected floats z [batch, n] -> image [batch, 3, R, R], as in an exported "
                    f"model.onnx; it has {found}"
                )

    def images(self, z: Tensor) -> Tensor:
        """[n, z_dim] -> [n, 3, R, R]."""
        inputs = {"z": z.numpy()}
        if self._takes_truncation:
            inputs["truncation"] = np.asarray([self.truncation], np.float32)
        return torch.from_numpy(self.session.run(None, inputs)[0])

    def pixels(self, count: int, seed: int) -> Iterator[Tensor]:
        return (to_uint8(self.images(z)) for z in latents(self.z_dim, count, seed))


def _float_sizes(value: Any) -> tuple[int | None, ...]:
    """Sizes of a session's float32 input or output, None where one varies; () if it is absent or of another type."""
    if value is None or value.type != "tensor(float)":
        return ()
    return tuple(size if isinstance(size, int) else None for size in value.shape)


def load_stylegan2(name: str | Path) -> StyleGAN2:
    """The unconditional StyleGAN2 of a run, a generator's folder or builtin:NAME.

    Raises:
        UserError: nothing of the kind, or a class-conditional one.
    """
    network = load_generator(generator_folder(name))
    assert isinstance(network, StyleGAN2)
    if network.config.label_dim:
        raise UserError(f"{name}: is class-conditional; only generators without classes are supported so far")
    return network


def open_source(
    name: str, *, device: str = "cpu", truncation: float = 1.0, resolution: int | None = None
) -> Folder | Generator | OnnxFile:
    """Whatever `name` is: run, generator folder, builtin:NAME, ONNX file, image folder or zip.

    Raises:
        UserError: nothing that can be read as pictures.
    """
    path = builtin_path(name)
    if not path.exists():
        raise UserError(f"{name}: no such file or folder")
    if path.suffix == ".onnx":
        return OnnxFile(path, name, truncation=truncation)
    if path.is_dir() and (is_run(path) or (path / "config.json").is_file()):
        return Generator(load_stylegan2(name), name, device, truncation)
    return Folder(ImageSet(path, resolution), name)


def write_pictures(name: str, out: Path, count: int, seed: int, truncation: float = 1.0) -> Path:
    """Draw `count` pictures of a generator into a grid (`out` ends in .png) or, one file each, into the folder `out`.

    Raises:
        UserError: `name` generates nothing, or `out` names another kind of file.
    """
    grid = out.suffix.lower() == ".png" and not out.is_dir()
    if not grid and (out.is_file() or out.suffix.lower() in EXTENSIONS - {".png"}):
        raise UserError(f"{out}: pictures go into a .png (one grid) or a folder (one file each)")
    source = open_source(name, truncation=truncation)
    if not source.generated:
        raise UserError(f"{name}: is a set of images, not a generator")
    if grid:
        pixels = torch.cat(list(source.pixels(count, seed)))
        out.parent.mkdir(parents=True, exist_ok=True)
        picture_grid(list(torch.split(pixels, math.ceil(count**0.5))), at_least=VISIBLE).save(out)
        return out
    out.mkdir(parents=True, exist_ok=True)
    for i, picture in enumerate(p for batch in source.pixels(count, seed) for p in batch):
        picture_grid([picture[None]]).save(out / f"seed{seed:04d}-{i:05d}.png")
    return out
