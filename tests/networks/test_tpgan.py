"""TP-GAN: published sizes, patches at their places, one forward."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from distilgan.errors import UserError
from distilgan.evaluation.cost import count_macs, count_parameters
from distilgan.networks.families import load_network
from distilgan.networks.generator import ImageGenerator
from distilgan.networks.identity import IdentityConfig, IdentityNetwork
from distilgan.networks.tpgan import PATCHES, PRESETS, TPGAN, TPGANConfig, crop, patch_size, template, tpgan_config
from distilgan.networks.tpgan_discriminator import TPGANDiscriminator, TPGANDiscriminatorConfig, discriminator_widths
from tests.conftest import tiny_tpgan

# Global and local width, fused features -> parameters and GMAC of one 128 px forward. The first is the published PyTorch port's
# count, the fourth the MetaKD report's 91.83 M; MACs were counted there with two other counters, to the digits given.
SIZES = [
    (1.0, 1.0, 64, 138_078_575, 90.02),
    (1.0, 0.75, 64, 116_543_855, 88.14),
    (1.0, 0.5, 64, 101_128_559, 86.77),
    (1.0, 0.25, 64, 91_832_687, 85.91),
    (0.75, 0.75, 64, 81_767_093, 56.6),
    (0.5, 0.5, 64, 40_117_483, 31.3),
    (0.5, 0.25, 64, 30_821_611, 30.4),
    (0.5, 0.25, 32, 30_007_979, 22.9),
    (0.25, 0.25, 16, 12_213_041, 6.59),
]


@pytest.mark.parametrize(("width", "local", "fused", "parameters", "gmacs"), SIZES)
def test_published_sizes(width: float, local: float, fused: int, parameters: int, gmacs: float) -> None:
    with torch.device("meta"):
        network = TPGAN(tpgan_config(128, width, local, fused=fused)).eval()
        inputs = {"image": torch.empty(1, 3, 128, 128), "landmarks": torch.empty(1, 5, 2)}
        assert count_parameters(network) == parameters
        assert count_macs(network, **inputs) / 1e9 == pytest.approx(gmacs, rel=2e-3)


def test_where_the_local_pathways_stand() -> None:
    """4 x 12.467 M of the teacher's parameters and 5.11 GMAC; the head 89 k; encoders that all losses reach: 31.3 M."""
    with torch.device("meta"):
        network = TPGAN(tpgan_config())
    assert sum(map(count_parameters, network.local_pathways.values())) == pytest.approx(49.867e6, rel=1e-4)
    assert network.identity is not None
    assert count_parameters(network.identity) == 256 * 347 + 347
    encoders = [getattr(p, f"conv{i}") for p in network.local_pathways.values() for i in range(4)]
    assert sum(map(count_parameters, encoders)) == pytest.approx(31.3e6, rel=5e-3)


def test_the_critic() -> None:
    widths = {1.0: 13_354_625, 0.5: 3_341_121, 0.25: 836_513}
    for width, parameters in widths.items():
        network = TPGANDiscriminator(TPGANDiscriminatorConfig(128, discriminator_widths(width)))
        assert count_parameters(network) == parameters
    assert network(torch.zeros(2, 3, 128, 128)).shape == (2, 1, 4, 4)


def test_presets_are_those_of_the_report() -> None:
    assert {name: (p["width"], p["local_width"]) for name, p in PRESETS.items()} == {
        "teacher": (1.0, 1.0), "report-student": (1.0, 0.25), "light": (0.5, 0.25), "tiny": (0.25, 0.25),
    }  # fmt: skip


@pytest.mark.parametrize("resolution", [32, 64, 128])
@torch.no_grad()
def test_three_sizes_and_four_patches(resolution: int) -> None:
    network = tiny_tpgan(resolution, z_dim=3, identities=5)
    inputs = network.sample_inputs(2, torch.Generator().manual_seed(0))
    out = network(**inputs, full=True)
    sizes = [tuple(x.shape) for x in (out.image, out.half, out.quarter)]
    assert sizes == [(2, 3, resolution // k, resolution // k) for k in (1, 2, 4)]
    assert {n: tuple(p.shape[2:]) for n, p in out.patches.items()} == {
        n: patch_size(n, resolution)[::-1] for n in PATCHES
    }
    assert out.code.shape == (2, 8)
    assert out.identity is not None
    assert out.identity.shape == (2, 5)
    assert len(out.features) == 16
    assert torch.equal(out.image, network(**inputs))
    assert torch.equal(out.image, network(**inputs, z=torch.zeros(2, 3)))
    assert not torch.equal(out.image, network(**inputs, z=torch.ones(2, 3)))


def coordinates(resolution: int) -> Tensor:
    """A picture whose channels are the column, the row and 1."""
    grid = torch.arange(resolution, dtype=torch.float32)
    planes = [grid.expand(resolution, -1), grid[:, None].expand(-1, resolution), torch.ones(resolution, resolution)]
    return torch.stack(planes)[None]


def test_patches_are_cut_around_their_features() -> None:
    image, points = coordinates(128).expand(2, -1, -1, -1), template(128).repeat(2, 1, 1)
    points[1, 0] += torch.tensor([10.0, 5.0])
    eye = crop(image, points, "left_eye")
    assert eye.shape == (2, 3, 40, 40)
    assert eye[0, :, 20, 20].tolist() == [43.0, 40.0, 1.0]
    assert eye[1, :, 20, 20].tolist() == [53.0, 45.0, 1.0]
    mouth = crop(image, points, "mouth")
    assert mouth[0, :, 16, 24].tolist() == [64.0, 88.0, 1.0]
    nose = crop(image, points, "nose")  # its tip 11 px above the lower edge
    assert nose[0, 1, -1, 0] == 70 + 11 - 1


@pytest.mark.parametrize("shift", [-200.0, 200.0])
def test_patches_beyond_the_border_repeat_it(shift: float) -> None:
    image, points = coordinates(128), template(128)[None] + shift
    patch = crop(image, points, "nose")
    border = 0.0 if shift < 0 else 127.0
    assert bool((patch[:, :2] == border).all())
    assert bool((patch[:, 2] == 1).all())


@torch.no_grad()
def test_fusion_is_by_mask_and_keeps_dark_values() -> None:
    """A maximum over zero-padded patches would lift everything below 0; two patches over one pixel are averaged."""
    network = tiny_tpgan(128)
    dark = {n: torch.full((1, 3, h, w), -0.7) for n, (w, h) in PATCHES.items()}
    fused = network._fuse(dark)
    covered = network.masks.sum(0)[0] > 0
    assert fused[0, 0][covered].allclose(torch.tensor(-0.7))
    assert bool((fused[0, 0][~covered] == 0).all())
    two = {n: torch.full_like(p, 1.0 if n == "nose" else 3.0) for n, p in dark.items()}
    values = set(network._fuse(two)[0, 0].unique().tolist())
    assert values == {0.0, 1.0, 2.0, 3.0}


@torch.no_grad()
def test_patches_land_where_they_were_cut_from_an_aligned_face() -> None:
    """Cut around the template and put back, a picture is itself wherever a patch lies."""
    network, image = tiny_tpgan(64), coordinates(64)
    points = template(64)[None]
    back = network._fuse({n: crop(image, points, n) for n in PATCHES})
    covered = (network.masks.sum(0) > 0).expand(3, -1, -1)
    torch.testing.assert_close(back[0][covered], image[0][covered])


def test_every_parameter_of_the_generator_learns() -> None:
    network = tiny_tpgan(identities=3).train()
    out = network(**network.sample_inputs(2), full=True)
    (
        out.image.sum()
        + out.half.sum()
        + out.quarter.sum()
        + out.identity.sum()
        + sum(p.sum() for p in out.patches.values())
    ).backward()
    still = [name for name, p in network.named_parameters() if p.grad is None]
    assert not still


def test_a_folder_gives_the_network_back(tmp_path: Path) -> None:
    network = tiny_tpgan()
    network.save_pretrained(tmp_path)
    inputs = network.sample_inputs(1)
    assert torch.equal(load_network(tmp_path, TPGAN)(**inputs), network(**inputs))
    with pytest.raises(UserError, match="is a network that turns faces to the front, not a generator of pictures"):
        load_network(tmp_path, ImageGenerator)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resolution": 96}, "resolution=96: must be a power of two"),
        ({"encoder": [4, 4]}, "encoder=.*expected 5 widths"),
        ({"fused": 0}, "fused=0"),
        ({"z_dim": -1}, "z_dim=-1: must not be negative"),
    ],
)
def test_impossible_configs(change: dict[str, object], message: str) -> None:
    good = tpgan_config(64, 0.1, 0.1)
    with pytest.raises(ValueError, match=message):
        TPGANConfig(**{**good.__dict__, **change})  # type: ignore[arg-type]


@torch.no_grad()
def test_the_identity_network_gives_unit_vectors() -> None:
    torch.manual_seed(0)
    network = IdentityNetwork(IdentityConfig(32, [4, 8], 6, identities=3)).eval()
    direction, cosines = network(torch.rand(5, 3, 32, 32) * 2 - 1, full=True)
    torch.testing.assert_close(direction.norm(dim=1), torch.ones(5))
    assert cosines.shape == (5, 3)
    assert float(cosines.abs().max()) <= 1 + 1e-6
