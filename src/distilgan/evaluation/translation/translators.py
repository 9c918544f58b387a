"""What translates photos, as a network or an ONNX file, behind one face."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from distilgan.data.archives import builtin_path
from distilgan.errors import UserError
from distilgan.evaluation.cost import Costed, costed_network
from distilgan.files import file_sha256
from distilgan.networks.pretrained import network_sha256
from distilgan.networks.resnet_translator import ResnetTranslator
from distilgan.networks.tiles import WHOLE, translate_picture
from distilgan.onnx_session import onnx_facts, open_session, stored_facts
from distilgan.runs import load_model
from distilgan.teachers.cut import is_checkpoint, read_translator

COST_SIZE = 256
"""Side of the picture that costs are given for, as in the literature."""
Progress = Callable[[int, int], None]


@dataclass
class TorchTranslator:
    """A network in torch."""

    network: ResnetTranslator
    name: str
    device: str = "cpu"

    def __post_init__(self) -> None:
        self.network = self.network.to(self.device).eval()
        self.resolution, self.multiple = self.network.config.resolution, self.network.config.multiple

    @torch.no_grad()
    def __call__(self, photos: Tensor) -> Tensor:
        """Photos [N, 3, H, W] in [-1, 1], sides multiples of `multiple` -> translations in [-1, 1], on the CPU."""
        made: Tensor = self.network(photos.to(self.device))
        return made.float().clamp(-1, 1).cpu()

    def picture(self, pixels: Tensor, progress: Progress | None = None) -> Tensor:
        """uint8 [3, H, W] of any size -> uint8 of that size, in bounded memory."""
        return translate_picture(self.network, pixels, progress=progress)

    def costed(self, size: int = COST_SIZE) -> Costed:
        side = -(-size // self.multiple) * self.multiple
        image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
        return costed_network(self.network, {"image": image.to(self.device)})

    @property
    def sha256(self) -> str:
        return network_sha256(self.network)


@dataclass
class OnnxTranslator:
    """An exported translator, or anybody's that takes one picture and gives one of the same size, in ONNX Runtime.

    Raises:
        UserError: another kind of file.
    """

    path: Path
    name: str
    threads: int | None = None

    def __post_init__(self) -> None:
        self.session = open_session(self.path, self.threads)
        inputs = self.session.get_inputs()
        match [i.shape for i in inputs]:
            case [[batch, 3, height, width]]:
                self.input, self.single = inputs[0].name, batch == 1
                self.fixed = (height, width) if isinstance(height, int) and isinstance(width, int) else None
            case _:
                takes = ", ".join(f"{i.name} {i.shape}" for i in inputs)
                raise UserError(
                    f"{self.path}: expected one picture [batch, 3, H, W], as of a translator; it takes {takes}"
                )
        stored = stored_facts(self.session)
        self.multiple = int(stored.get("multiple", 4))
        self.resolution = int(stored.get("resolution", 256)) if self.fixed is None else self.fixed[0]

    def __call__(self, photos: Tensor) -> Tensor:
        """Photos [N, 3, H, W] in [-1, 1] -> translations in [-1, 1].

        Raises:
            UserError: it does not take them, or gives pictures of another size.
        """
        if self.single and len(photos) > 1:
            return torch.cat([self(photo[None]) for photo in photos])
        try:
            made = self.session.run(None, {self.input: np.ascontiguousarray(photos.float().numpy())})[0]
        except Exception as error:  # onnxruntime has a kind for each of its codes
            why = " ".join(str(error).split())[:160]
            raise UserError(f"{self.path}: does not take float32 pictures {list(photos.shape)} ({why})") from error
        if made.shape != tuple(photos.shape):
            raise UserError(
                f"{self.path}: gives {list(made.shape)} for {list(photos.shape)}; a translator keeps the size"
            )
        return torch.from_numpy(made).clamp(-1, 1)

    def picture(self, pixels: Tensor, progress: Progress | None = None) -> Tensor:
        """uint8 [3, H, W] -> uint8 of that size.

        Raises:
            ValueError: larger than one piece can be, or of another size than a fixed one.
        """
        height, width = pixels.shape[1:]
        if self.fixed is not None and (height, width) != self.fixed:
            raise ValueError(f"is {width}x{height}; this ONNX file takes {self.fixed[1]}x{self.fixed[0]} alone")
        if height * width > 4 * WHOLE:
            raise ValueError(
                f"is {width}x{height}; an ONNX file translates {4 * WHOLE / 1e6:.0f} megapixels at most: give the "
                "network's folder, which goes tile by tile"
            )
        rows, columns = (max(4 * self.multiple, -(-side // self.multiple) * self.multiple) for side in (height, width))
        padded = pixels.numpy()
        for axis, more in ((1, rows - height), (2, columns - width)):  # as tiles do it: both give the same picture
            widths = [(0, more if a == axis else 0) for a in range(3)]
            padded = np.pad(padded, widths, mode="reflect" if more < padded.shape[axis] else "edge")
        made = self(torch.from_numpy(padded)[None].float() / 127.5 - 1)[0, :, :height, :width]
        return (made * 127.5 + 128).clamp(0, 255).to(torch.uint8)

    def costed(self, size: int = COST_SIZE) -> Costed:
        height, width = self.fixed or (size, size)
        image = torch.zeros(1, 3, height, width)
        return Costed(lambda: self(image), onnx_facts(self.session, self.path))

    @property
    def sha256(self) -> str:
        return file_sha256(self.path)


AnyTranslator = TorchTranslator | OnnxTranslator


def open_translator(name: str, device: str = "cpu", threads: int | None = None) -> AnyTranslator:
    """Run, folder, builtin:NAME, ONNX file, or a .pth of CUT or Scenimefy.

    Raises:
        UserError: nothing there, or nothing that translates pictures.
    """
    path = builtin_path(name)
    if not path.exists():
        raise UserError(f"{name}: no such file or folder")
    if path.suffix == ".onnx":
        return OnnxTranslator(path, name, threads)
    if is_checkpoint(path):
        return TorchTranslator(read_translator(path), name, device)
    return TorchTranslator(load_model(name, ResnetTranslator), name, device)
