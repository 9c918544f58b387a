"""Reading a state dict of another layout: every tensor is asked for by name, and none may be left over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
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
