"""Where features of a translator are compared: a sample of places, each projected to the unit sphere.

Source: Park et al., "Contrastive Learning for Unpaired Image-to-Image Translation", ECCV 2020, section 3 (H_l); parameter names are
those of the official `PatchSampleF`.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from distilgan.networks.resnet_translator import _initialise

Places = Mapping[str, Tensor]


class PatchProjector(nn.Module):
    """Features {tap: [N, C, H, W]} at places {tap: [P]} -> {tap: [N, P, width]} of unit length.

    Args:
        widths: tap -> channels. width: of the projections.
    """

    def __init__(self, widths: Mapping[str, int], width: int = 256) -> None:
        super().__init__()
        self.taps = list(widths)
        for i, channels in enumerate(widths.values()):
            layers = nn.Sequential(nn.Linear(channels, width), nn.ReLU(), nn.Linear(width, width))
            self.add_module(f"mlp_{i}", layers)
        self.apply(_initialise)

    def forward(self, features: Mapping[str, Tensor], places: Places) -> dict[str, Tensor]:
        found = {}
        for i, tap in enumerate(self.taps):
            rows = features[tap].flatten(2)[:, :, places[tap]].transpose(1, 2)  # [N, P, C]
            projected = self.get_submodule(f"mlp_{i}")(rows).float()
            found[tap] = projected / (projected.norm(dim=2, keepdim=True) + 1e-7)
        return found
