"""Training translators on small pictures, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from distilgan.data.unpaired import TranslationBatch
from distilgan.methods.base import Engine
from distilgan.methods.draws import Draws
from distilgan.networks.patch_projector import PatchProjector
from distilgan.networks.resnet_translator import ResnetTranslator
from tests.conftest import lively
from tests.training.running import prepared as built

Features = dict[str, Tensor]


def prepared(recipe: Any, seed: int = 5) -> Any:
    """A method whose networks make something of a picture."""
    torch.manual_seed(0)
    method = built(recipe)
    for i, (name, network) in enumerate(sorted(method.trainable().items())):
        if name != "generator" or getattr(recipe, "teacher", None) is None:
            lively(network, seed=seed + i)
    method.prepare(method.trainable(), dict(method.optimisers()), Engine())
    return method


def batches_of(method: Any, n: int = 4, parts: int = 1, start: int = 0) -> list[TranslationBatch]:
    """The micro-batches of a step."""
    feeds = [method.lessons().batches(n, 0, start=start, part=p, parts=parts) for p in range(parts)]
    return [next(feed).to(torch.device("cpu")) for feed in feeds]


def draws_of(n: int = 4, parts: int = 1, images: int = 0) -> list[Draws]:
    return [Draws(0, images, n, part=p, parts=parts) for p in range(parts)]


def encoded(network: ResnetTranslator, image: Tensor, taps: Sequence[str]) -> Features:
    """Features, layer by layer."""
    names = {network.tap_index[tap]: tap for tap in taps}
    found = {}
    for i, layer in enumerate(network.model):
        image = layer(image)
        if i in names:
            found[names[i]] = image
    return {tap: found[tap] for tap in taps}


def projected(projector: PatchProjector, features: Features, places: dict[str, Tensor]) -> list[Tensor]:
    """[N, P, width] of unit length for each tap."""
    found = []
    for i, (tap, f) in enumerate(features.items()):
        flat = f.flatten(2)
        rows = torch.stack([flat[:, :, p] for p in places[tap].tolist()], 1)
        made = projector.get_submodule(f"mlp_{i}")(rows)
        found.append(made / made.norm(dim=2, keepdim=True))
    return found


def dealt(draws: Draws, features: Features, places: int) -> dict[str, Tensor]:
    """Places as a step draws them."""
    return {tap: draws.shared_order(f.shape[2] * f.shape[3])[:places] for tap, f in features.items()}


def gradients_of_a_step(method: Any, batches: list[TranslationBatch], draws: list[Draws]) -> Features:
    """Of all players, none of which moves."""
    found: Features = {}

    def note(name: str, report: Any) -> None:
        network = method.trainable()[name]
        found.update({f"{name}.{k}": p.grad.clone() for k, p in network.named_parameters() if p.grad is not None})
        report[f"gradient_{name}"] = torch.zeros([])
        method.optimiser[name].zero_grad(set_to_none=True)

    method._update = note
    method.step(batches, draws)
    return found
