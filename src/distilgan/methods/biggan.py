"""Training a BigGAN on labelled images: how a class-conditional teacher is made.

Hinge losses, a projection critic and spectral normalisation of both players. Source: Brock, Donahue, Simonyan, "Large Scale
GAN Training for High Fidelity Natural Image Synthesis", 2019, section 3; one critic update a step, as in its authors' later
code.
"""

from __future__ import annotations

import torch
from torch import Tensor

from distilgan.data.feed import Batch
from distilgan.errors import UserError
from distilgan.losses.adversarial import discriminator_hinge, generator_hinge
from distilgan.methods.base import Terms, add_terms
from distilgan.methods.draws import Draws
from distilgan.methods.latent import LatentMethod
from distilgan.networks.augment import DRAWS, diffaugment
from distilgan.networks.biggan import BigGAN, BigGANConfig, orthogonal_init
from distilgan.networks.generator import ImageGenerator
from distilgan.networks.pretrained import Pretrained
from distilgan.networks.resnet_discriminator import ResNetDiscriminator, ResNetDiscriminatorConfig
from distilgan.networks.spectral import add_spectral_norm, baked
from distilgan.recipe import BigGANRecipe


class BigGANTraining(LatentMethod):
    """Generator against critic, both told the class."""

    labelled = True

    def __init__(self, recipe: BigGANRecipe, num_classes: int) -> None:
        super().__init__(recipe.optimiser, recipe.training)
        generator, critic = _players(recipe, num_classes)
        for network in (generator, critic):
            orthogonal_init(network)
        self.generator = add_spectral_norm(generator)
        self.discriminator = add_spectral_norm(critic, embeddings=True)
        self.augment = recipe.augment
        self.weights = {"gan": 1.0}

    def step(self, batches: list[Batch], draws: list[Draws]) -> Terms:
        report: Terms = {}
        inputs = [(d.latents(self.generator.latent), d.integers(self.generator.num_classes)) for d in draws]
        # With accumulation the pictures are made again for the generator's turn, instead of keeping all graphs.
        kept = self._generate(*inputs[0]) if len(inputs) == 1 else None

        self.discriminator.requires_grad_(True)
        for i, (batch, (z, label), draw) in enumerate(zip(batches, inputs, draws, strict=True)):
            assert batch.labels is not None
            with self._sync("discriminator", last=i == len(batches) - 1):
                with torch.no_grad():
                    fake = kept.detach() if kept is not None else self._generate(z, label)
                both = torch.cat([batch.images, fake]), torch.cat([batch.labels, label])
                real_scores, fake_scores = self._judge(self.played["discriminator"], *both, draw).chunk(2)
                loss = discriminator_hinge(real_scores, fake_scores)
                self.engine.backward(loss / len(batches))
            scores = {"score_real": real_scores.mean(), "score_fake": fake_scores.mean()}
            add_terms(report, {"discriminator": loss, **scores}, 1 / len(batches))
        self._update("discriminator", report)

        self.discriminator.requires_grad_(False)
        for i, ((z, label), draw) in enumerate(zip(inputs, draws, strict=True)):
            with self._sync("generator", last=i == len(inputs) - 1):
                fake = kept if kept is not None else self._generate(z, label)
                loss = generator_hinge(self._judge(self.discriminator, fake, label, draw))
                self.engine.backward(loss / len(inputs))
            add_terms(report, {"gan": loss}, 1 / len(inputs))
        self._update("generator", report)
        self.steps += 1
        return report

    def finished(self, average: ImageGenerator) -> tuple[ImageGenerator, Pretrained]:
        return baked(average), baked(self.discriminator)

    def _generate(self, z: Tensor, label: Tensor) -> Tensor:
        with self.engine.autocast():
            image: Tensor = self.played["generator"](z, label)
        return image

    def _judge(self, player: torch.nn.Module, images: Tensor, label: Tensor, draws: Draws) -> Tensor:
        if self.augment:
            draw = draws.uniform(DRAWS)
            images = diffaugment(images, self.augment, draw.repeat(len(images) // len(draw), 1))
        with self.engine.autocast():
            scores: Tensor = player(images, label)
        return scores.float()


def _players(recipe: BigGANRecipe, num_classes: int) -> tuple[BigGAN, ResNetDiscriminator]:
    n, resolution, prefix = recipe.network, recipe.data.resolution, ""
    try:
        generator = BigGAN(
            BigGANConfig(
                resolution,
                list(n.channels),
                num_classes,
                z_dim=n.z_dim,
                embed_dim=n.embed_dim,
                attention=list(n.attention),
                latent=n.latent,
            )
        )
        prefix = "discriminator_"
        critic = ResNetDiscriminator(
            ResNetDiscriminatorConfig(
                resolution,
                list(n.discriminator_channels),
                num_classes,
                halvings=len(n.discriminator_channels),
                attention=list(n.discriminator_attention),
            )
        )
    except ValueError as error:
        raise UserError(f"network.{prefix}{error}") from error
    return generator, critic
