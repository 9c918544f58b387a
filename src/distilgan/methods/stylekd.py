"""StyleKD: distilling a StyleGAN2 into a thinner one that shows the same picture for the same latent.

The student takes over the teacher's mapping network, so that both mean the same by a latent; its synthesis network starts
from chosen channels of the teacher's (`slice`), or fresh (`mapping`, as published). It then learns

    L = λ₁ L_GAN + λ₂ |T(z) - S(z)| + λ₃ d(T(z), S(z)) + λ₄ L_LD,

where L_LD asks that a step along a semantic direction of w changes a batch's features alike in teacher and student.

Source: Xu, Hou, Liu, Loy, "Mind the Gap in Distilling StyleGANs", ECCV 2022 (as published: mapping copied, the rest fresh,
weights 1, 3, 3, 30); Liu et al., "Content-Aware GAN Compression", CVPR 2021 (slicing, no latent-direction term).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from distilgan.errors import UserError, named
from distilgan.losses.latent_direction import latent_offsets, sefa_directions, similarity_divergence
from distilgan.methods.adversarial import AdversarialMethod, Views, first_samples
from distilgan.methods.balance import meta_count, meta_distance
from distilgan.methods.base import Terms
from distilgan.methods.channel_scores import channel_scores
from distilgan.methods.draws import Draws
from distilgan.methods.gan import noise_fields, style_inputs
from distilgan.networks.pretrained import has_discriminator, network_sha256
from distilgan.networks.slicing import best_channels, copy_mapping, copy_noise, slice_generator, thinned
from distilgan.networks.stylegan2 import GeneratorOutput, StyleGAN2, check_taps
from distilgan.networks.stylegan2_discriminator import Discriminator, DiscriminatorConfig
from distilgan.perception.perceptual import build_perceptual
from distilgan.recipe import LatentDirection, StyleKDRecipe
from distilgan.runs import generator_folder


class StyleKD(AdversarialMethod):
    """Student against critic, beside a frozen teacher. `device` is where the channels are scored."""

    def __init__(self, recipe: StyleKDRecipe, device: str | torch.device = "cpu") -> None:
        super().__init__(recipe.regularisation, recipe.optimiser, recipe.training)
        self.weights = {k: v for k, v in recipe.losses.model_dump().items() if v}
        self.balance_by(recipe)
        model = _load_teacher(recipe)
        self.teacher = model if recipe.teacher else None
        self.taught_by = (recipe.teacher, network_sha256(model)) if recipe.teacher else None
        self.generator = self._student(model, recipe, device)
        self.discriminator = self._critic(model, recipe)
        self.share_noise = recipe.share_noise
        self.perceptual = build_perceptual(recipe.perceptual) if "perceptual" in self.weights else None

        self.direction = recipe.latent_direction
        self.directions = torch.zeros(0)
        self.taps: tuple[str, ...] = ()
        if "latent_direction" in self.weights:
            self.taps = _taps(model, self.direction)
            self.directions = _semantic_directions(model, recipe)

    # -- one step ----------------------------------------------------------------------------------------------------

    def inputs(self, draws: Draws) -> dict[str, Any]:
        """Latents and noise; with the latent-direction term every sample a second time, its w moved along a direction."""
        given = style_inputs(self.generator, draws, self.style_mixing)
        if self.taps:
            choice, length = draws.integers(len(self.directions)), draws.normal()
            offset = latent_offsets(self.directions.to(choice.device), choice, length, self.direction.step)
            given = {k: _twice(v) for k, v in given.items()}
            given |= {"offset": torch.cat([torch.zeros_like(offset), offset]), "taps": self.taps}
        return given

    def terms(self, views: Views, draws: Draws) -> Terms:
        """pixel = |T - S|, perceptual = d(T, S), latent_direction = Σ_l KL(S_T ‖ S_S)."""
        if self.teacher is None:
            return {}
        teacher = self.once_a_step(draws, lambda: self._taught(views, draws))
        n = views.image.shape[0] // 2 if self.taps else views.image.shape[0]
        mine, target = views.image[:n].float(), teacher.image[:n].float()

        terms: Terms = {}
        if "pixel" in self.weights:
            terms["pixel"] = (mine - target).abs().mean()
        if self.perceptual is not None:
            with self.engine.autocast():
                terms["perceptual"] = self.perceptual(mine, target).mean()
        if self.taps:
            theirs, ours = ({k: (f[:n], f[n:]) for k, f in x.features.items()} for x in (teacher, views))
            d = self.direction
            terms["latent_direction"] = similarity_divergence(theirs, ours, d.group, d.temperature)
        return terms

    @torch.no_grad()
    def _taught(self, views: Views, draws: Draws) -> GeneratorOutput:
        assert self.teacher is not None
        given = dict(views.inputs)
        if not self.share_noise:
            given["noise"] = [_twice(f) if self.taps else f for f in noise_fields(self.teacher, draws)]
        with self.engine.autocast():
            taught: GeneratorOutput = self.teacher(**given, full=True)
        return taught

    def meta_loss(self, draws: Draws) -> Tensor:
        """Distance of the pictures of new latents."""
        assert self.teacher is not None
        given = style_inputs(self.generator, draws, self.style_mixing)
        count = meta_count(self.balancing, draws)
        given = {key: first_samples(value, count) for key, value in given.items()}
        with self.engine.autocast():
            made = self.generator(**given)
            with torch.no_grad():
                target = self.teacher(**given)
        return meta_distance(self.balancing, made.float(), target.float())

    # -- what the loop asks ------------------------------------------------------------------------------------------

    def references(self, inputs: dict[str, Any]) -> Tensor | None:
        return None if self.teacher is None else self.teacher(**inputs)

    def check_share(self, samples: int) -> None:
        super().check_share(samples)
        group = min(self.direction.group, self.training.batch)
        if self.taps and samples % group:
            raise UserError(
                f"latent_direction.group={group}: does not divide the {samples} samples that a process holds at once "
                f"(training.batch over processes and micro-batches); enlarge the batch or lower the group"
            )

    def frozen(self) -> list[nn.Module]:
        return [m for m in (self.teacher, self.perceptual) if m is not None]

    # -- how it starts -----------------------------------------------------------------------------------------------

    def _student(self, model: StyleGAN2, recipe: StyleKDRecipe, device: str | torch.device) -> StyleGAN2:
        s = recipe.student
        channels = s.channels or thinned(model.config.channels, s.keep)
        if len(channels) != len(model.config.channels) or any(
            c > t for c, t in zip(channels, model.config.channels, strict=True)
        ):
            raise UserError(
                f"student.channels={channels}: needs {len(model.config.channels)} widths, "
                f"none above the teacher's {model.config.channels}"
            )
        if s.init == "slice":
            scores = channel_scores(model.to(device), s.score, s.score_samples, recipe.seed)
            student = slice_generator(model.cpu(), best_channels([score.cpu() for score in scores], channels))
        else:
            student = StyleGAN2(replace(model.config, channels=channels))
            copy_noise(model, student)
            if s.init == "mapping":
                copy_mapping(model, student)
        student.train().requires_grad_(True)
        student.mapping.requires_grad_(s.train_mapping)
        return student

    def _critic(self, model: StyleGAN2, recipe: StyleKDRecipe) -> Discriminator:
        folder = generator_folder(str(recipe.teacher or recipe.like))
        if recipe.critic == "inherit":
            return Discriminator.from_pretrained(folder).train().requires_grad_(True)
        if has_discriminator(folder):
            return Discriminator(Discriminator.from_pretrained(folder).config)
        widths = model.config.channels[1::2][::-1]  # as wide as the teacher at each resolution
        return Discriminator(DiscriminatorConfig(model.config.resolution, widths))


def _load_teacher(recipe: StyleKDRecipe) -> StyleGAN2:
    key, name = ("teacher", recipe.teacher) if recipe.teacher else ("like", str(recipe.like))
    with named(key, name):
        model = StyleGAN2.from_pretrained(generator_folder(name)).requires_grad_(False)
    if model.config.label_dim:
        raise UserError(f"{key}={name}: is class-conditional; stylekd needs one without classes")
    if model.config.resolution != recipe.data.resolution:
        raise UserError(
            f"data.resolution={recipe.data.resolution}: the teacher's images are {model.config.resolution} px wide; "
            f"set data.resolution={model.config.resolution}"
        )
    return model


def _taps(model: StyleGAN2, direction: LatentDirection) -> tuple[str, ...]:
    """The layers compared; by default conv1 of the blocks from 16 to 128 px, as in the published code."""
    taps = direction.taps or [f"synthesis.b{r}.conv1" for r in model.config.resolutions if 16 <= r <= 128]
    if not taps:
        raise UserError("latent_direction.taps: the teacher has no block of 16 px or more; name the layers to compare")
    try:
        check_taps(taps, model.tap_names)
    except ValueError as error:
        raise UserError(f"latent_direction.taps: {error}") from error
    return tuple(taps)


def _semantic_directions(teacher: StyleGAN2, recipe: StyleKDRecipe) -> Tensor:
    """SeFa directions of each block from `first_block` to `last_block`, stacked: [blocks · per_block, w_dim]."""
    d = recipe.latent_direction
    blocks = [r for r in teacher.config.resolutions if d.first_block <= r <= (d.last_block or 128)]
    if not blocks:
        raise UserError(
            f"latent_direction.first_block={d.first_block}: the teacher has no block between there and {d.last_block or 128}"
        )
    found = []
    for resolution in blocks:
        block = teacher.synthesis.block(resolution)
        layers = [block.conv1] if resolution == 4 else [block.conv0, block.conv1]
        found.append(sefa_directions([layer.affine.weight for layer in layers], d.per_block))
    return torch.cat(found)


def _twice(value: Any) -> Any:
    """Each tensor concatenated with itself along the batch, inside lists and tuples too."""
    if isinstance(value, Tensor):
        return torch.cat([value, value])
    if isinstance(value, list | tuple):
        return type(value)(_twice(v) for v in value)
    return value
