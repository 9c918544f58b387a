"""Small things that many tests share. Two threads at most, so that timings and bit-for-bit checks mean something."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from distilgan.cli import main
from distilgan.data.face_table import TABLE, FaceRow, write_table
from distilgan.data.multipie import CAMERAS
from distilgan.networks.biggan import BigGAN, BigGANConfig, BigGANDeep
from distilgan.networks.distylegan import DiStyleGAN, DiStyleGANConfig
from distilgan.networks.generator import ImageGenerator
from distilgan.networks.resnet_translator import CUTTranslator, ResnetConfig, ResnetTranslator
from distilgan.networks.stylegan2 import StyleGAN2, StyleGAN2Config, channel_list
from distilgan.networks.stylegan2_discriminator import Discriminator, DiscriminatorConfig, discriminator_channels
from distilgan.networks.tinygan import TinyGAN, TinyGANConfig
from distilgan.networks.tpgan import TEMPLATE, TPGAN, tpgan_config

torch.set_num_threads(min(2, torch.get_num_threads()))


def tiny_generator(resolution: int = 16, seed: int = 0, **changes: object) -> StyleGAN2:
    """A StyleGAN2 with trained-like noise strengths and biases, so that nothing is zero by initialisation."""
    torch.manual_seed(seed)
    settings = {"z_dim": 12, "w_dim": 16, "mapping_layers": 2, **changes}
    network = StyleGAN2(StyleGAN2Config(resolution, channel_list(resolution, 256, 12), **settings))  # type: ignore[arg-type]
    with torch.no_grad():
        for name, p in network.named_parameters():
            if name.endswith(("noise_strength", "bias")):
                p.add_(0.1 * torch.randn_like(p))
    return network.eval()


def tiny_discriminator(resolution: int = 16, seed: int = 1) -> Discriminator:
    torch.manual_seed(seed)
    return Discriminator(DiscriminatorConfig(resolution, discriminator_channels(resolution, 256, 12)))


def conditional(kind: str) -> ImageGenerator:
    """One of each family, tiny, with nothing at zero."""
    torch.manual_seed(0)
    network: ImageGenerator
    if kind == "biggan":
        network = BigGAN(BigGANConfig(16, [16, 16, 8], 5, z_dim=6, embed_dim=4, attention=[16]))
    elif kind == "biggan-deep":
        network = BigGANDeep(BigGANConfig(16, [32, 32, 16, 16, 16], 5, z_dim=6, embed_dim=4, attention=[8]))
    elif kind == "tinygan":
        network = TinyGAN(TinyGANConfig(16, [12, 8, 8], 5, [6], embed_dim=4))
    elif kind == "distylegan":
        network = DiStyleGAN(DiStyleGANConfig(16, [8, 8, 4], 5, z_dim=6, project_dim=4))
    else:
        network = StyleGAN2(StyleGAN2Config(16, [8] * 6, z_dim=6, w_dim=8, mapping_layers=2, label_dim=5))
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return network.eval()


@pytest.fixture
def generator() -> StyleGAN2:
    return tiny_generator()


@pytest.fixture
def teacher_folder(tmp_path: Path) -> Path:
    """A tiny generator and discriminator on disk."""
    folder = tmp_path / "teacher"
    tiny_generator().save_pretrained(folder)
    tiny_discriminator().save_pretrained(folder)
    return folder


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """24 random 16 px images."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(24):
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(folder / f"{i:03d}.png")
    return folder


@pytest.fixture
def conditional_teacher(tmp_path: Path) -> Path:
    """A tiny BigGAN of 5 classes on disk."""
    folder = tmp_path / "conditional-teacher"
    conditional("biggan").save_pretrained(folder)
    return folder


@pytest.fixture
def labelled_folder(tmp_path: Path) -> Path:
    """40 random 16 px images in 5 folders, one a class."""
    rng = np.random.default_rng(0)
    for i in range(40):
        folder = tmp_path / "labelled" / f"class{i % 5}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(folder / f"{i:03d}.png")
    return tmp_path / "labelled"


def tiny_tpgan(resolution: int = 32, seed: int = 0, **changes: Any) -> TPGAN:
    """A TP-GAN of a few channels, with biases that are not zero."""
    torch.manual_seed(seed)
    settings = {"width": 1 / 16, "local_width": 1 / 32, "fused": 4, "code": 8, "z_dim": 0, "identities": 0, **changes}
    network = TPGAN(tpgan_config(resolution, **settings))
    with torch.no_grad():
        for name, p in network.named_parameters():
            if name.endswith("bias"):
                p.add_(0.05 * torch.randn_like(p))
    return network.eval()


def write_faces(folder: Path, people: int = 4, first: int = 1, size: int = 32, moments: int = 2, seed: int = 0) -> Path:
    """Noise for faces at three angles, each person at two moments, with a table."""
    rng = np.random.default_rng(seed + first)
    folder.mkdir(parents=True)
    rows = []
    for person in range(first, first + people):
        for moment in range(1, moments + 1):
            for camera in ("110", "051", "041"):
                name = f"{person:03d}_01_{moment:02d}_{camera}_07.png"
                Image.fromarray(rng.integers(0, 255, (size, size, 3), dtype=np.uint8)).save(folder / name)
                points = [(p[0] * size / 128, p[1] * size / 128) for p in TEMPLATE]
                front = f"{person:03d}_01_{moment:02d}_051_07.png"
                rows.append(FaceRow(name, front, f"{person:03d}", CAMERAS[camera], points))
    write_table(folder / TABLE, rows)
    return folder


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """24 pairs of 4 people, 32 px."""
    return write_faces(tmp_path / "faces")


@pytest.fixture
def tpgan_teacher(tmp_path: Path) -> Path:
    """A tiny TP-GAN on disk."""
    folder = tmp_path / "tpgan-teacher"
    tiny_tpgan().save_pretrained(folder)
    return folder


def lively(network: ResnetTranslator, seed: int = 0) -> ResnetTranslator:
    """Weights that make something of a picture: initial ones give grey."""
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in network.parameters():
            noise = torch.randn(p.shape, generator=draws)
            p.copy_(noise * (p[0].numel() ** -0.5 if p.dim() > 1 else 0.2))
    return network.eval()


def tiny_cut(blocks: int = 3, seed: int = 0, **changes: Any) -> CUTTranslator:
    network = CUTTranslator(ResnetConfig(**{"channels": [4, 5, 6], "blocks": blocks, "resolution": 16, **changes}))
    lively(network, seed)
    return network


def write_pictures(folder: Path, count: int, seed: int, size: tuple[int, int] = (20, 24)) -> Path:
    """Smooth noise."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for i in range(count):
        small = Image.fromarray(rng.integers(0, 255, (6, 6, 3), dtype=np.uint8))
        small.resize(size, Image.Resampling.BICUBIC).save(folder / f"{i:02d}.png")
    return folder


@pytest.fixture
def photo_folder(tmp_path: Path) -> Path:
    """12 pictures of 20x24 px."""
    return write_pictures(tmp_path / "photos", 12, seed=1)


@pytest.fixture
def style_folder(tmp_path: Path) -> Path:
    """10 others."""
    return write_pictures(tmp_path / "style", 10, seed=2)


@pytest.fixture
def pair_folder(tmp_path: Path) -> Path:
    """8 photos with their translations."""
    for seed, side in enumerate(("photo", "style")):
        write_pictures(tmp_path / "pairs" / side, 8, seed=3 + seed)
    return tmp_path / "pairs"


@pytest.fixture
def cut_teacher(tmp_path: Path) -> Path:
    """A tiny CUT generator of three blocks on disk."""
    folder = tmp_path / "cut-teacher"
    tiny_cut().save_pretrained(folder)
    return folder


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`distilgan` with the arguments, in this process: exit status, what it printed, its errors."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["distilgan", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        assert isinstance(stop.value.code, int)
        return stop.value.code, *capsys.readouterr()

    return call
