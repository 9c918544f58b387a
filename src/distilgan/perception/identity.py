"""Networks that say who is in a picture, behind one face."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from distilgan.networks.identity import IdentityNetwork
from distilgan.perception.features import resize_antialiased


class IdentityFeatures(nn.Module):
    """Faces [N, 3, R, R] in [-1, 1], of any R -> unit vectors [N, D]; fixed.

    Attributes:
        name: of the network, for protocols. weights: SHA-256 of them.
    """

    def __init__(self, network: IdentityNetwork, name: str) -> None:
        super().__init__()
        self.network, self.name = network.eval().requires_grad_(False), name

    def forward(self, faces: Tensor) -> Tensor:
        size = self.network.config.resolution
        found: Tensor = self.network(faces if faces.shape[-1] == size else resize_antialiased(faces, size))
        return found


def build_identity(folder: Path, name: str) -> IdentityFeatures:
    """The identity network in a folder.

    Raises:
        UserError: not such a folder, or damaged.
    """
    return IdentityFeatures(IdentityNetwork.from_pretrained(folder), name)
