"""Training a generator on images alone, as StyleGAN2 is trained: how a teacher is made.

Source: Karras et al. 2020. Style mixing: Karras et al., "A Style-Based Generator", 2019, section 3.1.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from distilgan.methods.adversarial import AdversarialMethod, Views
from distilgan.methods.base import Terms
from distilgan.methods.draws import Draws
from distilgan.networks.stylegan2 import StyleGAN2, StyleGAN2Config, channel_list
from distilgan.networks.stylegan2_discriminator import Discriminator, DiscriminatorConfig, discriminator_channels
from distilgan.recipe import GANRecipe


def style_inputs(generator: StyleGAN2, draws: Draws, mixing: float) -> dict[str, Any]:
    """z, a second z and a crossover with probability `mixing`, and fresh noise fields."""
    config = generator.config
    given: dict[str, Any] = {"z": draws.normal(config.z_dim)}
    if draws.shared_uniform() < mixing:
        given["mixing"] = (draws.normal(config.z_dim), draws.shared_integer(1, config.num_ws))
    given["noise"] = noise_fields(generator, draws)
    return given


def noise_fields(generator: StyleGAN2, draws: Draws) -> list[Tensor]:
    """A noise field for each convolution, [count, 1, r, r]."""
    return [draws.normal(1, layer.resolution, layer.resolution) for _, layer in generator.synthesis.layers()]


class GAN(AdversarialMethod):
    """The generator's only term is adversarial."""

    def __init__(self, recipe: GANRecipe) -> None:
        super().__init__(recipe.regularisation, recipe.optimiser, recipe.training)
        n, resolution = recipe.network, recipe.data.resolution
        self.generator = StyleGAN2(
            StyleGAN2Config(
                resolution,
                channel_list(resolution, n.channel_base, n.channel_max),
                z_dim=n.z_dim,
                w_dim=n.w_dim,
                mapping_layers=n.mapping_layers,
                conv_clamp=n.conv_clamp,
            )
        )
        widths = discriminator_channels(
            resolution, n.discriminator_base or n.channel_base, n.discriminator_max or n.channel_max
        )
        self.discriminator = Discriminator(
            DiscriminatorConfig(resolution, widths, mbstd_group=n.mbstd_group, conv_clamp=n.conv_clamp)
        )
        self.weights = {"gan": 1.0}

    def inputs(self, draws: Draws) -> dict[str, Any]:
        return style_inputs(self.generator, draws, self.style_mixing)

    def terms(self, views: Views, draws: Draws) -> Terms:
        return {}
