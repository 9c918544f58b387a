"""Pictures of any size: tiles join without seams, memory is bounded."""

from __future__ import annotations

import zipfile

import pytest
import torch
from PIL import Image
from torch import Tensor

from distilgan.data.archives import builtin_path
from distilgan.data.images import pixels_of
from distilgan.networks.ode_translator import ODEConfig, ODETranslator
from distilgan.networks.resnet_translator import CUTTranslator, ResnetConfig, ResnetTranslator
from distilgan.networks.statistics import InstanceNorm, release
from distilgan.networks.tiles import translate_picture
from tests.conftest import lively


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
    network = lively(NETWORKS[name](), 3)
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


def test_how_a_picture_is_cut_changes_nothing_under_an_adaptive_solver() -> None:
    """Its steps would differ from tile to tile."""
    network = lively(ODETranslator(ODEConfig([6, 8], 1, depthwise=True, solver="dopri5", rtol=1e-4, atol=1e-4)))
    pixels = picture(192, 288)
    few, many = (translate_picture(network, pixels, whole=24_000, tile=tile).int() for tile in (96, 64))
    assert few.float().std() > 20
    assert int((few - many).abs().max()) <= 1


def test_a_smaller_picture_tells_the_statistics_of_the_whole() -> None:
    """Nothing like the error of tiles that are each normalised by themselves."""
    network = lively(NETWORKS["cut"](), 3)
    waves = torch.sin(torch.arange(768.0)[:, None] / 90) + torch.cos(torch.arange(1024.0) / 230)
    pixels = ((waves[None] + torch.tensor([0.0, 0.4, -0.4])[:, None, None]).clamp(-2, 2) * 60 + 127).to(torch.uint8)
    whole = translate_picture(network, pixels, whole=10**9).float()
    held = translate_picture(network, pixels, whole=6 * 256**2).float()
    alone = translated_apart(network, pixels, 256)
    assert float((held - whole).abs().mean()) < float((alone - whole).abs().mean()) / 5


def translated_apart(network: ResnetTranslator, pixels: Tensor, side: int) -> Tensor:
    """Each square by itself."""
    rows = [[translate_picture(network, part) for part in row.split(side, 2)] for row in pixels.split(side, 1)]
    return torch.cat([torch.cat(row, 2) for row in rows], 1).float()


def test_so_it_does_of_a_photo_for_a_trained_network() -> None:
    network = CUTTranslator.from_pretrained(builtin_path("builtin:scenes-teacher"))
    with (
        zipfile.ZipFile(builtin_path("builtin:photos-test.zip")) as photos,
        photos.open("neuschwanstein_castle.jpg") as file,
    ):
        pixels = pixels_of(Image.open(file))[:, :256, :512]
    whole = translate_picture(network, pixels).float()
    held = translate_picture(network, pixels, whole=pixels[0].numel() // 4, tile=128).float()
    alone = translated_apart(network, pixels, 128)
    error, seams = (float((made - whole).abs().mean()) for made in (held, alone))
    assert 0 < error < 8  # of 255
    assert seams > 3 * error


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 90), (5, 7), (33, 16), (31, 250)])
def test_any_size_keeps_its_size(height: int, width: int) -> None:
    made = translate_picture(lively(NETWORKS["cut"](), 3), picture(height, width), whole=4096, tile=32)
    assert made.shape == (3, height, width)


def test_statistics_are_released_when_a_tile_fails() -> None:
    network = lively(NETWORKS["cut"](), 3)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        translate_picture(network, picture(300, 300), whole=4096, tile=64, progress=stop)
    assert all(m.held is None for m in network.modules() if isinstance(m, InstanceNorm))


def test_progress_counts_the_tiles() -> None:
    told: list[tuple[int, int]] = []
    translate_picture(
        lively(NETWORKS["cut"](), 3), picture(130, 70), whole=4096, tile=64, progress=lambda *n: told.append(n)
    )
    assert told == [(i, 6) for i in range(1, 7)]
