"""TP-GAN training on small faces, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from distilgan.data.face_pairs import FaceBatch, FacePairs
from distilgan.methods.base import Engine
from distilgan.methods.frontal import View
from distilgan.networks.identity import IdentityConfig, IdentityNetwork
from distilgan.perception.identity import IdentityFeatures, open_identity
from distilgan.pipeline import build_method


def prepared(recipe: Any) -> Any:
    method = build_method(recipe, FacePairs(recipe.data.path, 32))
    method.prepare(method.trainable(), dict(method.optimisers()), Engine())
    return method


def batch_of(method: Any, n: int = 4) -> FaceBatch:
    batch: FaceBatch = next(method.lessons().batches(n, 0)).to(torch.device("cpu"))
    return batch


def view_of(method: Any, n: int = 4) -> View:
    return method._look(batch_of(method, n), {}, graph=True)  # type: ignore[no-any-return]


def identity_network(folder: Path) -> IdentityFeatures:
    torch.manual_seed(1)
    IdentityNetwork(IdentityConfig(32, [4, 8], 6)).save_pretrained(folder / "identity")
    return open_identity(str(folder / "identity"), Path)
