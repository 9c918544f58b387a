"""Where pictures come from: a run, a generator's folder, an ONNX file or a folder of images, all behind one face."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from distilgan.data.archives import EXTENSIONS, builtin_path
from distilgan.data.grid import VISIBLE, picture_grid
from distilgan.data.images import ImageSet, to_uint8
from distilgan.devices import to_device
from distilgan.errors import UserError
from distilgan.networks.generator import ImageGenerator
from distilgan.networks.latents import LatentSpec
from distilgan.onnx_session import open_session, stored_facts
from distilgan.runs import is_run, load_model

BATCH = 16


def class_turns(count: int, num_classes: int, classes: Sequence[int] | None = None) -> Tensor:
    """The classes of `count` pictures, int64 [count]: `classes` (default: all) in turn, so that each has its share."""
    chosen = torch.tensor(list(range(num_classes) if classes is None else classes))
    return chosen[torch.arange(count) % len(chosen)]


def drawn_inputs(
    latent: LatentSpec, num_classes: int, count: int, seed: int, classes: Sequence[int] | None = None
) -> Iterator[dict[str, Tensor]]:
    """Inputs of a generator in batches of 16: the same numbers for every source with the same `seed`."""
    inputs = {"z": latent.draw(count, torch.Generator().manual_seed(seed))}
    if num_classes:
        inputs["label"] = class_turns(count, num_classes, classes)
    for start in range(0, count, BATCH):
        yield {key: value[start : start + BATCH] for key, value in inputs.items()}


def mixed_order(count: int) -> Tensor:
    """A fixed random order of `count` images, int64 [count]: the first so many, or any piece, stand for them all."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))


@dataclass
class Folder:
    """Images on disk, in a mixed order: that of their names may be by class."""

    images: ImageSet
    name: str

    @property
    def resolution(self) -> int:
        return self.images.resolution

    def pixels(self, count: int, seed: int, classes: Sequence[int] | None = None) -> Iterator[Tensor]:
        """uint8 batches [n, 3, R, R], `count` pictures in all at most; `seed` and `classes` are for what draws."""
        for rows in torch.split(mixed_order(len(self.images))[:count], BATCH):
            yield torch.stack([self.images[int(i)] for i in rows])

    def labels(self, count: int, classes: Sequence[int] | None = None) -> Tensor | None:
        """Class numbers of those pictures, int64 [count] at most; None without classes."""
        return self.images.labels[mixed_order(len(self.images))[:count]] if self.images.labelled else None


class Drawn(ABC):
    """Pictures that are a function of a latent, and of a class where there are any; square, `resolution` px."""

    name: str
    latent: LatentSpec
    num_classes: int
    resolution: int

    @abstractmethod
    def images(self, inputs: dict[str, Tensor]) -> Tensor:
        """Inputs of n pictures -> float32 [n, 3, R, R] in [-1, 1] and a little beyond, on the CPU."""

    def pixels(self, count: int, seed: int, classes: Sequence[int] | None = None) -> Iterator[Tensor]:
        """uint8 batches [n, 3, R, R], `count` pictures in all, of `classes` (default: all) in turn."""
        return (to_uint8(self.images(x)) for x in drawn_inputs(self.latent, self.num_classes, count, seed, classes))

    def labels(self, count: int, classes: Sequence[int] | None = None) -> Tensor | None:
        """Class numbers of those pictures, int64 [count]; None without classes."""
        return class_turns(count, self.num_classes, classes) if self.num_classes else None


@dataclass
class Generator(Drawn):
    """A torch generator; stored noise fields, so that a picture is a function of its inputs alone."""

    network: ImageGenerator
    name: str
    device: str = "cpu"
    truncation: float = 1.0

    def __post_init__(self) -> None:
        try:
            self.network.check_truncation(self.truncation)
        except ValueError as error:
            raise UserError(f"{self.name}: {error}") from error
        self.network = self.network.to(self.device).eval()
        self.latent, self.num_classes = self.network.latent, self.network.num_classes
        self.resolution = self.network.image_shape[1]

    @torch.no_grad()
    def images(self, inputs: dict[str, Tensor]) -> Tensor:
        images: Tensor = self.network(**to_device(inputs, self.device), truncation=self.truncation)
        return images.cpu()


@dataclass
class OnnxFile(Drawn):
    """An exported generator in ONNX Runtime.

    Args:
        truncation: None for the file's own: what is baked into it, or 1 where it is an input.

    Raises:
        UserError: another kind of file, or one into which another truncation is baked.
    """

    path: Path
    name: str
    threads: int | None = None
    truncation: float | None = None

    def __post_init__(self) -> None:
        self.session = open_session(self.path, self.threads)
        inputs = {i.name: i for i in self.session.get_inputs()}
        image = self.session.get_outputs()[0]
        facts = stored_facts(self.session)
        self.num_classes = int(facts.get("num_classes", 0)) if "label" in inputs else 0
        known = inputs.keys() <= {"z", "label", "truncation"} and ("label" not in inputs or self.num_classes > 0)
        match _float_sizes(inputs.get("z")), _float_sizes(image):
            case (None, *sizes), (None, 3, int(height), int(width)) if height == width and known and None not in sizes:
                self.resolution = height
                self.latent = _stored_latent(facts, [size for size in sizes if size])
            case _:
                found = ", ".join(f"{i.name} {i.type} {i.shape}" for i in [*inputs.values(), image])
                raise UserError(
                    f"{self.path}: expected floats z [batch, n] (and label) -> image [batch, 3, R, R], as in an exported "
                    f"model.onnx; it has {found}"
                )
        self._takes_truncation = "truncation" in inputs
        own = 1.0 if self._takes_truncation else float(facts.get("truncation", 1))
        self.truncation = own if self.truncation is None else self.truncation
        if not self._takes_truncation and self.truncation != own:
            raise UserError(
                f"{self.path}: draws at truncation {own:g} alone, not {self.truncation:g}; give --truncation {own:g}, or "
                "export the generator again at the other"
            )

    def images(self, inputs: dict[str, Tensor]) -> Tensor:
        given = {key: value.numpy() for key, value in inputs.items()}
        if self._takes_truncation:
            given["truncation"] = np.asarray([self.truncation], np.float32)
        return torch.from_numpy(self.session.run(None, given)[0])


def _stored_latent(facts: dict[str, str], shape: list[int]) -> LatentSpec:
    """The latent that the export wrote into the file; N(0, 1) for files of others."""
    try:
        latent = TypeAdapter(LatentSpec).validate_python(json.loads(facts["latent"]))
    except (KeyError, ValueError, ValidationError):
        return LatentSpec(shape)
    return latent if latent.shape == shape else LatentSpec(shape)


def _float_sizes(value: Any) -> tuple[int | None, ...]:
    """Sizes of a session's float32 input or output, None where one varies; () if it is absent or of another type."""
    if value is None or value.type != "tensor(float)":
        return ()
    return tuple(size if isinstance(size, int) else None for size in value.shape)


def open_source(name: str, *, device: str = "cpu", truncation: float | None = None) -> Folder | Generator | OnnxFile:
    """Whatever `name` is: run, generator folder, builtin:NAME, ONNX file, image folder or zip.

    Args:
        truncation: None for what is baked into an ONNX file, else 1.

    Raises:
        UserError: nothing that can be read as pictures, or that cannot be drawn from at this truncation.
    """
    path = builtin_path(name)
    if not path.exists():
        raise UserError(f"{name}: no such file or folder")
    if path.suffix == ".onnx":
        return OnnxFile(path, name, truncation=truncation)
    if path.is_dir() and (is_run(path) or (path / "config.json").is_file()):
        return Generator(load_model(name, ImageGenerator), name, device, 1.0 if truncation is None else truncation)
    return Folder(ImageSet(path), name)


def write_pictures(
    name: str, out: Path, count: int, seed: int, truncation: float | None = None, label: int | None = None
) -> Path:
    """Draw `count` pictures of a generator into a grid (`out` ends in .png) or, one file each, into the folder `out`.

    A conditional generator draws the class `label`, or its classes in turn, in the grid one a column.

    Raises:
        UserError: `name` generates nothing, not at this truncation or no such class, or `out` names another kind of file.
    """
    grid = out.suffix.lower() == ".png" and not out.is_dir()
    if not grid and (out.is_file() or out.suffix.lower() in EXTENSIONS - {".png"}):
        raise UserError(f"{out}: pictures go into a .png (one grid) or a folder (one file each)")
    source = open_source(name, truncation=truncation)
    if isinstance(source, Folder):
        raise UserError(f"{name}: is a set of images, not a generator")
    if label is not None and not 0 <= label < source.num_classes:
        has = f"has the classes 0 to {source.num_classes - 1}" if source.num_classes else "has no classes"
        raise UserError(f"--label {label}: {name} {has}")
    batches = source.pixels(count, seed, None if label is None else [label])
    if grid:
        in_turn = source.num_classes if label is None and 1 < source.num_classes <= 20 else 0
        pixels = torch.cat(list(batches))
        out.parent.mkdir(parents=True, exist_ok=True)
        rows = torch.split(pixels, in_turn or math.ceil(count**0.5))
        picture_grid(list(rows), at_least=VISIBLE).save(out)
        return out
    out.mkdir(parents=True, exist_ok=True)
    for i, picture in enumerate(p for batch in batches for p in batch):
        picture_grid([picture[None]]).save(out / f"seed{seed:04d}-{i:05d}.png")
    return out
