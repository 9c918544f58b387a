"""Reading a state dict of another layout: every tensor is asked for by name, and none may be left over."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from distilgan.errors import UserError, near_names


class Tensors:
    """The tensors of a checkpoint, by their names there.

    Args:
        origin: the file, for messages.
    """

    def __init__(self, state: dict[str, Tensor], origin: Path) -> None:
        self._state, self._origin = state, origin
        self._unread = set(state)

    def __contains__(self, name: str) -> bool:
        return name in self._state

    def __iter__(self) -> Iterator[str]:
        return iter(self._state)

    def take(self, name: str) -> Tensor:
        """The tensor `name`, float32.

        Raises:
            UserError: there is none.
        """
        found = self._found(name).float()
        self._unread.discard(name)
        return found

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of the tensor `name`, which does not count as reading it."""
        return tuple(self._found(name).shape)

    def _found(self, name: str) -> Tensor:
        if name not in self._state:
            raise UserError(
                f"{self._origin}: has no {name}{near_names(name, self._state)}; give a generator's whole file"
            )
        return self._state[name]

    def skip(self, unwanted: Callable[[str], bool]) -> None:
        """Leave out tensors that say nothing of the function."""
        self._unread = {name for name in self._unread if not unwanted(name)}

    def check_all_read(self) -> None:
        """Raise UserError when a tensor was not asked for: the network is another one than it seemed."""
        if self._unread:
            first = min(self._unread)
            raise UserError(
                f"{self._origin}: {len(self._unread)} tensors have no place in the network that the others describe, the "
                f"first is {first}"
            )

    # -- spectral normalisation --------------------------------------------------------------------------------------

    def normalised(self, name: str) -> Tensor:
        """The weight of layer `name` with torch's old spectral normalisation baked in: W_orig / (u · W v); or plain."""
        if f"{name}.weight_orig" not in self:
            return self.take(f"{name}.weight")
        weight, u, v = (self.take(f"{name}.weight_{part}") for part in ("orig", "u", "v"))
        return weight / torch.dot(u, weight.flatten(1) @ v)

    def stepped(self, name: str) -> Tensor:
        """The weight of layer `name` over the σ that one power step from the stored u gives; or plain.

        This is what ajbrock/BigGAN-PyTorch does in every forward, also in eval mode.
        """
        weight = self.take(f"{name}.weight")
        if f"{name}.u0" not in self:
            return weight
        self.skip(lambda other: other == f"{name}.sv0")  # for logging only
        u, matrix = self.take(f"{name}.u0"), weight.flatten(1)
        v = F.normalize(u @ matrix)
        u = F.normalize(v @ matrix.t())
        return weight / (v @ matrix.t() @ u.t()).squeeze()


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file or of one that torch.save wrote, without executing code from it.

    Raises:
        UserError: not such a file, or one that holds anything but tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        tree = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise UserError(f"{path}: damaged or cut short ({error}); fetch it again") from error
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: holds Python objects and not only tensors; load it where it was made and save its state_dict() with "
            "torch.save (official StyleGAN pickles are read when their names end in .pkl)"
        ) from error
    except OSError:
        raise
    except Exception as error:  # torch stumbles over a damaged file in many ways
        raise UserError(f"{path}: not a checkpoint, or a damaged one; fetch it again") from error
    for key in ("state_dict", "g_ema", "G_ema"):
        if isinstance(tree, dict) and isinstance(tree.get(key), dict):
            tree = tree[key]
    state = {str(name).removeprefix("module."): value for name, value in tree.items()} if isinstance(tree, dict) else {}
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(
            f"{path}: is not a state dict (names and tensors); save the generator's state_dict() with torch.save"
        )
    return state
