"""Pictures of any size: tiles join without seams, memory is bounded."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from distilgan.networks.ode_translator import ODEConfig, ODETranslator
from distilgan.networks.resnet_translator import CUTTranslator, ResnetConfig, ResnetTranslator
from distilgan.networks.statistics import InstanceNorm, pooled_statistics, release
from distilgan.networks.tiles import translate_picture


def lively(network: ResnetTranslator) -> ResnetTranslator:
    """Weights that make something of a picture: initial ones give grey."""
    torch.manual_seed(3)
    for p in network.parameters():
        p.data = (
            0.4 * torch.randn_like(p) / max(1.0, p[0].numel() ** 0.5 / 4) if p.dim() > 1 else 0.3 * torch.randn_like(p)
        )
    return network.eval()


def picture(height: int, width: int) -> Tensor:
    return torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


NETWORKS = {
    "cut": lambda: CUTTranslator(ResnetConfig([6, 8, 10], 2)),
    "strided": lambda: CUTTranslator(ResnetConfig([6, 8, 10], 2, antialias=False, antialias_up=False)),
    "euler": lambda: ODETranslator(ODEConfig([6, 8], 2, depthwise=True, steps=2)),
    "batch norm, folded": lambda: ODETranslator(ODEConfig([6, 8], 2, norm="batch", folded=2, stem=3)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_tiles_are_what_the_network_makes_of_the_whole_with_the_same_statistics(name: str) -> None:
    network = lively(NETWORKS[name]())
    pixels = picture(203, 318)
    tiled = translate_picture(network, pixels, whole=12_000, tile=64)
    held = {}

    def keep(module: torch.nn.Module, given: object, out: object) -> None:
        held[module] = module.held

    norms = [m for m in network.modules() if isinstance(m, InstanceNorm)]
    hooks = [m.register_forward_hook(keep) for m in norms]
    translate_picture(network, pixels, whole=12_000, tile=64)
    for hook in hooks:
        hook.remove()
    for norm in norms:
        norm.held = held[norm]
    whole = translate_picture(network, pixels, whole=10**9)
    release(network)
    difference = (tiled.int() - whole.int()).abs()
    assert whole.float().std() > 20
    assert int(difference.max()) <= 1  # of rounding: sums are made in another order
    assert float((difference > 0).float().mean()) < 1e-3


def test_a_sample_of_tiles_tells_the_statistics_of_the_whole() -> None:
    """Nothing like the error of tiles that are each normalised by themselves."""
    network = lively(NETWORKS["cut"]())
    waves = torch.sin(torch.arange(768.0)[:, None] / 90) + torch.cos(torch.arange(1024.0) / 230)
    pixels = ((waves[None] + torch.tensor([0.0, 0.4, -0.4])[:, None, None]).clamp(-2, 2) * 60 + 127).to(torch.uint8)
    whole = translate_picture(network, pixels, whole=10**9).float()
    sampled = translate_picture(network, pixels, whole=6 * 256**2).float()
    alone = torch.cat(
        [
            torch.cat([translate_picture(network, part) for part in row.split(256, 2)], 2)
            for row in pixels.split(256, 1)
        ],
        1,
    ).float()
    assert float((sampled - whole).abs().mean()) < float((alone - whole).abs().mean()) / 5


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 90), (5, 7), (33, 16), (31, 250)])
def test_any_size_keeps_its_size(height: int, width: int) -> None:
    made = translate_picture(lively(NETWORKS["cut"]()), picture(height, width), whole=4096, tile=32)
    assert made.shape == (3, height, width)


def test_statistics_are_released_when_a_tile_fails() -> None:
    network = lively(NETWORKS["cut"]())

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        translate_picture(network, picture(300, 300), whole=4096, tile=64, progress=stop)
    assert all(m.held is None for m in network.modules() if isinstance(m, InstanceNorm))


def test_pooled_statistics_are_those_of_all_pictures_together() -> None:
    norm, x = InstanceNorm(), torch.randn(4, 3, 5, 6) * 2 + 1
    with pooled_statistics(norm):
        pooled = norm(x)
    flat = x.transpose(0, 1).flatten(1)
    expected = (x - flat.mean(1)[:, None, None]) / (flat.var(1, correction=0) + 1e-5).sqrt()[:, None, None]
    torch.testing.assert_close(pooled, expected)
    torch.testing.assert_close(norm(x[:1]), expected[:1])
    release(norm)
    torch.testing.assert_close(norm(x), torch.nn.functional.instance_norm(x))


def test_progress_counts_the_tiles() -> None:
    told: list[tuple[int, int]] = []
    translate_picture(
        lively(NETWORKS["cut"]()), picture(130, 70), whole=4096, tile=64, progress=lambda *n: told.append(n)
    )
    assert told == [(i, 6) for i in range(1, 7)]
