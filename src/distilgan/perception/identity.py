"""Networks that say who is in a picture, behind one face."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from distilgan.networks.identity import IdentityNetwork
from distilgan.networks.pretrained import weights_sha256
from distilgan.perception.features import resize_antialiased


class IdentityFeatures(nn.Module):
    """Faces [N, 3, R, R] in [-1, 1], of any R -> unit vectors [N, D]; fixed.

    Attributes:
        name: of the network, for protocols. weights: SHA-256 of them.
    """

    def __init__(self, network: IdentityNetwork, name: str) -> None:
        super().__init__()
        self.network, self.name = network.eval().requires_grad_(False), name
        self.weights = weights_sha256(network)

    def forward(self, faces: Tensor) -> Tensor:
        size = self.network.config.resolution
        found: Tensor = self.network(faces if faces.shape[-1] == size else resize_antialiased(faces, size))
        return found


def open_identity(name: str, folder_of: Callable[[str], Path]) -> IdentityFeatures:
    """The identity network that a recipe names.

    Args:
        folder_of: the folder that a run, builtin:NAME or path stands for.

    Raises:
        UserError: no such network, or damaged.
    """
    return IdentityFeatures(IdentityNetwork.from_pretrained(folder_of(name)), name)
