"""The official PyTorch StyleGAN2 as a contestant, from a checkout that the user has; nothing of it is in this repository."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def use_checkout(path: Path) -> None:
    """Make the official modules importable; CPU tensors take their reference operations, without a CUDA extension."""
    if not (path / "training" / "networks_stylegan2.py").is_file():
        raise SystemExit(f"{path}: no training/networks_stylegan2.py there; give a checkout of the official code")
    sys.path.insert(0, str(path))
    # They import parse_version from a package that setuptools no longer brings.
    shim = types.ModuleType("pkg_resources")
    shim.parse_version = lambda text: tuple(int(x) for x in text.split("+")[0].split(".")[:2])  # type: ignore[attr-defined]
    sys.modules.setdefault("pkg_resources", shim)


def forward_256() -> Callable[[], object]:
    """One picture at 256 px, float32, as the official sampling script calls it."""
    from training.networks_stylegan2 import Generator

    network = Generator(512, 0, 512, 256, 3, channel_base=32768, num_fp16_res=0, conv_clamp=256).eval()
    z = torch.randn(1, 512)
    return lambda: network(z, None, noise_mode="const")


def training_step(resolution: int, base: int, maximum: int, batch: int) -> Callable[[bool], None]:
    """One step of both players with the official loss and its settings for one process; the argument adds lazy R1."""
    from training.loss import StyleGAN2Loss
    from training.networks_stylegan2 import Discriminator, Generator

    common: dict[str, Any] = {"channel_base": base, "channel_max": maximum, "num_fp16_res": 0, "conv_clamp": 256}
    generator = Generator(
        128, 0, 128, resolution, 3, fused_modconv_default="inference_only", mapping_kwargs={"num_layers": 4}, **common
    )
    critic = Discriminator(0, resolution, 3, **common)
    networks = [n.train().requires_grad_(False) for n in (generator, critic)]
    optimisers = [torch.optim.Adam(n.parameters(), lr=0.002, betas=(0.0, 0.99)) for n in networks]
    loss = StyleGAN2Loss("cpu", generator, critic, r1_gamma=0.02, style_mixing_prob=0.9, pl_weight=0)
    real, label = torch.randn(batch, 3, resolution, resolution), torch.zeros(batch, 0)

    def phase(name: str, player: int, gain: int) -> None:
        networks[player].requires_grad_(True)
        loss.accumulate_gradients(name, real, label, torch.randn(batch, 128), label, gain, 0)
        networks[player].requires_grad_(False)
        optimisers[player].step()
        optimisers[player].zero_grad(set_to_none=True)

    def step(regularise: bool) -> None:
        phase("Gmain", 0, 1)
        phase("Dmain", 1, 1)
        if regularise:
            phase("Dreg", 1, 16)

    return step
