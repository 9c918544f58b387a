"""Where pictures come from: a run, a generator's folder, an ONNX file or a folder of images, all behind one face."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from distilgan.data.grid import VISIBLE, picture_grid
from distilgan.data.images import ImageSet, builtin_path, to_uint8
from distilgan.errors import UserError
from distilgan.evaluation.onnx_session import open_session
from distilgan.networks.pretrained import load_generator
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
        names = [i.name for i in self.session.get_inputs()]
        if "z" not in names:
            raise UserError(f"{self.path}: has inputs {', '.join(names)}; expected z (give the joined model.onnx)")
        self.z_dim = int(self.session.get_inputs()[names.index("z")].shape[1])
        self._takes_truncation = "truncation" in names
        try:
            self.resolution = int(self.session.get_outputs()[0].shape[-1])
        except (TypeError, ValueError, IndexError) as error:
            raise UserError(f"{self.path}: its output has no fixed picture size; export it with one") from error

    def images(self, z: Tensor) -> Tensor:
        """[n, z_dim] -> [n, 3, R, R]."""
        inputs = {"z": z.numpy()}
        if self._takes_truncation:
            inputs["truncation"] = np.asarray([self.truncation], np.float32)
        return torch.from_numpy(self.session.run(None, inputs)[0])

    def pixels(self, count: int, seed: int) -> Iterator[Tensor]:
        return (to_uint8(self.images(z)) for z in latents(self.z_dim, count, seed))


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
    """Draw `count` pictures of a generator into a grid (`out` ends in .png) or, one file each, into the folder `out`."""
    source = open_source(name, truncation=truncation)
    if not source.generated:
        raise UserError(f"{name}: is a set of images, not a generator")
    pixels = torch.cat(list(source.pixels(count, seed)))
    if out.suffix == ".png":
        columns = math.ceil(count**0.5)
        out.parent.mkdir(parents=True, exist_ok=True)
        picture_grid(list(torch.split(pixels, columns)), at_least=VISIBLE).save(out)
        return out
    out.mkdir(parents=True, exist_ok=True)
    for i, picture in enumerate(pixels):
        picture_grid([picture[None]]).save(out / f"seed{seed:04d}-{i:05d}.png")
    return out
