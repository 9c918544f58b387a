"""What turns faces to the front, as a network or an ONNX file, behind one face."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from distilgan.data.archives import builtin_path
from distilgan.errors import UserError
from distilgan.evaluation.cost import Costed, costed_network
from distilgan.networks.pretrained import read_config
from distilgan.networks.tpgan import TPGAN
from distilgan.onnx_session import onnx_facts, open_session, stored_facts
from distilgan.runs import generator_folder, load_model


@dataclass
class Frontalizer:
    """A TP-GAN in torch, without noise."""

    network: TPGAN
    name: str
    device: str = "cpu"

    def __post_init__(self) -> None:
        self.network = self.network.to(self.device).eval()
        self.resolution = self.network.config.resolution

    @torch.no_grad()
    def __call__(self, faces: Tensor, landmarks: Tensor) -> Tensor:
        """Aligned faces float [N, 3, R, R] and their landmarks [N, 5, 2] -> frontal faces in [-1, 1], on the CPU."""
        made: Tensor = self.network(faces.to(self.device), landmarks.to(self.device))
        return made.float().clamp(-1, 1).cpu()

    def costed(self) -> Costed:
        inputs = self.network.sample_inputs(1, torch.Generator().manual_seed(0))
        return costed_network(self.network, {k: v.to(self.device) for k, v in inputs.items()})


@dataclass
class OnnxFrontalizer:
    """An exported TP-GAN in ONNX Runtime.

    Raises:
        UserError: another kind of file.
    """

    path: Path
    name: str
    threads: int | None = None

    def __post_init__(self) -> None:
        self.session = open_session(self.path, self.threads)
        shapes = {i.name: i.shape for i in self.session.get_inputs()}
        match shapes.get("image"), shapes.get("landmarks"):
            case [_, 3, int(height), int(width)], [_, 5, 2] if height == width and len(shapes) == 2:
                self.resolution = height
            case _:
                raise UserError(
                    f"{self.path}: expected image [batch, 3, R, R] and landmarks [batch, 5, 2], as in an exported TP-GAN; it "
                    f"takes {', '.join(f'{name} {shape}' for name, shape in shapes.items())}"
                )

    def __call__(self, faces: Tensor, landmarks: Tensor) -> Tensor:
        """Aligned faces float [N, 3, R, R] and their landmarks [N, 5, 2] -> frontal faces in [-1, 1]."""
        (made,) = self.session.run(None, {"image": faces.numpy(), "landmarks": landmarks.float().numpy()})
        return torch.from_numpy(made).clamp(-1, 1)

    def costed(self) -> Costed:
        size = self.resolution
        face, landmarks = torch.zeros(1, 3, size, size), torch.full((1, 5, 2), size / 2)
        return Costed(lambda: self(face, landmarks), onnx_facts(self.session, self.path))


def open_frontalizer(name: str, device: str = "cpu", threads: int | None = None) -> Frontalizer | OnnxFrontalizer:
    """Run, folder, builtin:NAME or ONNX file.

    Raises:
        UserError: nothing there, or nothing that turns faces.
    """
    path = builtin_path(name)
    if not path.exists():
        raise UserError(f"{name}: no such file or folder")
    if path.suffix == ".onnx":
        return OnnxFrontalizer(path, name, threads)
    return Frontalizer(load_model(name, TPGAN), name, device)


def trained_yaws(turn: Frontalizer | OnnxFrontalizer) -> tuple[float, float] | None:
    """The angles that a network learnt from, degrees; None where that is not recorded."""
    try:
        if isinstance(turn, OnnxFrontalizer):
            first, last = json.loads(stored_facts(turn.session)["yaw"])
        else:
            first, last = read_config(generator_folder(turn.name))["yaw"]
        return float(first), float(last)
    except (UserError, ValueError, LookupError, TypeError):
        return None
