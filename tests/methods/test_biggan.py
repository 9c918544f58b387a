"""One step of BigGAN's training against the same computed with nothing of the method but its networks."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
import torch.nn.functional as F

from distilgan.data.images import ImageSet
from distilgan.methods.base import Engine
from distilgan.methods.biggan import BigGANTraining
from distilgan.methods.draws import Draws
from distilgan.pipeline import build_method
from tests.recipes import biggan_recipe


def test_a_step_is_that_of_the_objective(labelled_folder: Path) -> None:
    """max(0, 1 - D(x, y)) + max(0, 1 + D(G(z, y'), y')) for the critic, then -D(G(z, y'), y') for the generator."""
    images = ImageSet(labelled_folder, 16)
    method = build_method(biggan_recipe(labelled_folder, augment=[]), images)
    assert isinstance(method, BigGANTraining)
    twin = copy.deepcopy(method)
    method.prepare(method.trainable(), dict(method.optimisers()), Engine())
    batch = next(method.lessons().batches(8, 0)).to(torch.device("cpu"))
    assert batch.labels is not None
    assert len(set(batch.labels.tolist())) > 1
    report = method.step([batch], [Draws(0, 0, 8)])

    draws, optimisers = Draws(0, 0, 8), twin.optimisers()
    z, label = draws.latents(twin.generator.latent), draws.integers(5)
    fake = twin.generator(z, label)
    both = twin.discriminator(torch.cat([batch.images, fake.detach()]), torch.cat([batch.labels, label]))
    real_score, fake_score = both[:8], both[8:]
    loss = F.relu(1 - real_score).mean() + F.relu(1 + fake_score).mean()
    loss.backward()
    optimisers["discriminator"].step()
    twin.discriminator.requires_grad_(False)
    gan = -twin.discriminator(fake, label).mean()
    gan.backward()
    optimisers["generator"].step()

    expected = {"discriminator": loss, "score_real": real_score.mean(), "score_fake": fake_score.mean(), "gan": gan}
    for name, value in expected.items():
        torch.testing.assert_close(report[name], value.detach(), msg=name)
    for player in ("generator", "discriminator"):
        found = getattr(method, player).state_dict()
        for name, value in getattr(twin, player).state_dict().items():
            torch.testing.assert_close(found[name], value, msg=f"{player} {name}")
