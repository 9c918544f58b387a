"""A store of pairs and what it is made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from distilgan.data.pair_writer import draw_pairs
from distilgan.networks.generator import ImageGenerator
from tests.conftest import conditional


@pytest.fixture(scope="module")
def network() -> ImageGenerator:
    return conditional("biggan")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory, network: ImageGenerator) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    network.save_pretrained(folder, licence="ours")
    return folder


@pytest.fixture
def store(tmp_path: Path, teacher: Path) -> Path:
    return draw_pairs(tmp_path / "store", teacher, "T", 50, shard_size=20, seed=3, truncation=0.5)


def contents(store: Path) -> dict[str, bytes]:
    return {str(p.relative_to(store)): p.read_bytes() for p in sorted(store.rglob("*")) if p.is_file()}


def arrays(folder: Path, n: int = 30, shape: tuple[int, ...] = (3, 8, 8)) -> dict[str, Path]:
    rng = np.random.default_rng(0)
    made = {
        "images": rng.integers(0, 255, (n, 8, 8, 3), dtype=np.uint8),
        "latents": rng.normal(size=(n, *shape)).astype(np.float32),
        "labels": rng.integers(0, 4, n),
    }
    for name, array in made.items():
        np.save(folder / f"{name}.npy", array)
    return {name: folder / f"{name}.npy" for name in made}
