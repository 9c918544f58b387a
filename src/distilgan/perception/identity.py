"""Networks that say who is in a picture, behind one face: ours, Light CNN's released weights, any ArcFace-like ONNX file."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distilgan.errors import UserError
from distilgan.files import file_sha256
from distilgan.networks.identity import IdentityNetwork
from distilgan.networks.light_cnn import KINDS, SIZE, LightCNN
from distilgan.networks.pretrained import weights_sha256
from distilgan.onnx_session import open_session
from distilgan.perception.features import resize_antialiased

_LUMINANCE = (0.299, 0.587, 0.114)
_ARCFACE = 112
# Heights of eyes and mouth, as shares of the side: in our aligned faces, and in ArcFace's.
_OURS, _THEIRS = (40 / 128, 88 / 128), (51.6 / 112, 92.3 / 112)


class IdentityFeatures(nn.Module):
    """Aligned faces [N, 3, R, R] in [-1, 1], of any R -> unit vectors [N, D]; fixed.

    Attributes:
        name: of the network, for protocols. weights: SHA-256 of them. learnable: whether gradients pass.
    """

    def __init__(self, look: nn.Module, name: str, weights: str, learnable: bool = True) -> None:
        super().__init__()
        self.look, self.name, self.weights, self.learnable = look.eval().requires_grad_(False), name, weights, learnable

    def forward(self, faces: Tensor) -> Tensor:
        return F.normalize(self.look(faces).float(), dim=1)


class _Ours(nn.Module):
    def __init__(self, network: IdentityNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, faces: Tensor) -> Tensor:
        size = self.network.config.resolution
        found: Tensor = self.network(faces if faces.shape[-1] == size else resize_antialiased(faces, size))
        return found


class _Light(nn.Module):
    """Grey, in [0, 1], 128 px: with colours or in [-1, 1] its recognition breaks down silently."""

    def __init__(self, network: LightCNN) -> None:
        super().__init__()
        self.network = network

    def forward(self, faces: Tensor) -> Tensor:
        grey = sum(w * faces[:, i : i + 1] for i, w in enumerate(_LUMINANCE)) / 2 + 0.5
        assert isinstance(grey, Tensor)
        found: Tensor = self.network(grey if faces.shape[-1] == SIZE else resize_antialiased(grey, SIZE))
        return found


class _Onnx(nn.Module):
    """A file that takes RGB faces [N, 3, 112, 112] in [-1, 1] as ArcFace aligns them, one call a face."""

    def __init__(self, session: Any) -> None:
        super().__init__()
        self.session, self.input = session, session.get_inputs()[0].name

    def forward(self, faces: Tensor) -> Tensor:
        placed = as_arcface(faces.detach()).cpu().numpy()
        found = [self.session.run(None, {self.input: placed[i : i + 1]})[0] for i in range(len(placed))]
        return torch.cat([torch.from_numpy(f).flatten(1) for f in found])


def as_arcface(faces: Tensor) -> Tensor:
    """Our aligned faces [N, 3, R, R] moved to where ArcFace has eyes and mouth, 112 px; border pixels are repeated."""
    size = (_OURS[1] - _OURS[0]) / (_THEIRS[1] - _THEIRS[0])
    at = (torch.arange(_ARCFACE, device=faces.device) + 0.5) / _ARCFACE
    x, y = 0.5 + (at - 0.5) * size, _OURS[0] + (at - _THEIRS[0]) * size
    grid = torch.stack([x.expand(_ARCFACE, -1), y[:, None].expand(-1, _ARCFACE)], -1) * 2 - 1
    # Pictures much larger than the target are first brought near it, so that sampling skips nothing.
    faces = faces if faces.shape[-1] <= 2 * _ARCFACE else resize_antialiased(faces, 2 * _ARCFACE)
    return F.grid_sample(faces, grid.expand(len(faces), -1, -1, -1), padding_mode="border", align_corners=False)


def open_identity(name: str, folder_of: Callable[[str], Path]) -> IdentityFeatures:
    """The network that a recipe names: a folder of ours, `lightcnn-9|29|29v2:PATH` to released weights, or an .onnx file.

    Args:
        folder_of: the folder that a run, builtin:NAME or path stands for.

    Raises:
        UserError: no such network, damaged, or of another kind.
    """
    for kind in KINDS:
        if name.startswith(f"{kind}:"):
            path = Path(name.partition(":")[2])
            network = LightCNN(kind)
            network.load_state_dict(_light_state(path, network))
            return IdentityFeatures(_Light(network), name, weights_sha256(network))
    if name.endswith(".onnx"):
        return _open_onnx(Path(name))
    if not (folder := folder_of(name)).is_dir():
        raise UserError(
            f"{name}: no such network; give a run, a folder, builtin:NAME, an .onnx file, or lightcnn-29v2:PATH to weights"
        )
    found = IdentityNetwork.from_pretrained(folder)
    return IdentityFeatures(_Ours(found), name, weights_sha256(found))


def _light_state(path: Path, network: LightCNN) -> dict[str, Tensor]:
    """The parameters in a released file, without its classifier."""
    try:
        tree = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise UserError(f"{path}: not a file of weights, or a damaged one") from error
    tree = tree.get("state_dict", tree) if isinstance(tree, dict) else {}
    state = {k.removeprefix("module."): v for k, v in tree.items() if isinstance(v, Tensor)}
    wanted = {k: v.shape for k, v in network.state_dict().items()}
    for key, shape in wanted.items():
        if key not in state or state[key].shape != shape:
            raise UserError(
                f"{path}: holds another network ({key} is {'of another shape' if key in state else 'missing'})"
            )
    return {k: state[k] for k in wanted}


def _open_onnx(path: Path) -> IdentityFeatures:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    session = open_session(path)
    shape = session.get_inputs()[0].shape
    if len(session.get_inputs()) != 1 or list(shape[1:]) != [3, _ARCFACE, _ARCFACE]:
        raise UserError(f"{path}: expected one input [batch, 3, 112, 112] as ArcFace's; it takes {shape}")
    return IdentityFeatures(_Onnx(session), str(path), file_sha256(path), learnable=False)
