"""Where a class-conditional student's lessons come from, and the two networks that fit them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from distilgan.data.images import to_float
from distilgan.data.labels import in_turn
from distilgan.data.pairs import PairStore
from distilgan.errors import UserError, named
from distilgan.methods.draws import Draws
from distilgan.networks.distylegan import DiStyleCritic, DiStyleCriticConfig, DiStyleGAN, DiStyleGANConfig
from distilgan.networks.generator import ImageGenerator
from distilgan.networks.pretrained import Pretrained, network_sha256
from distilgan.networks.projection_discriminator import ProjectionDiscriminator, ProjectionDiscriminatorConfig
from distilgan.networks.tinygan import TinyGAN, TinyGANConfig
from distilgan.recipe import TinyGANRecipe
from distilgan.runs import load_model

_CHUNK = 64


class Teaching:
    """A teacher that draws when asked, a store of what it drew, or only the generator whose inputs a student takes.

    Attributes:
        model: the teacher, or the generator named in `like`; None for a store without a teacher.
        store: the pairs on disk, if the lessons come from there.
        latent: what the teacher's latents are drawn from. own_latent: what the student's random ones are.
    """

    def __init__(self, recipe: TinyGANRecipe) -> None:
        name = recipe.compared_with
        key = "teacher" if recipe.teacher else "like"
        self.name, self.taught, self.truncation = name, recipe.teacher is not None, recipe.pairs.truncation
        self.model = _load_model(key, name) if name else None
        self.store = PairStore(recipe.pairs.store) if recipe.pairs.store else None
        self.sha256 = network_sha256(self.model) if self.model is not None and self.taught else None
        if self.model is not None:
            self.own_latent, self.num_classes = self.model.latent, self.model.num_classes
            resolution = self.model.config.resolution
        else:
            assert self.store is not None
            self.own_latent, self.num_classes = self.store.manifest.latent, self.store.manifest.num_classes
            resolution = self.store.manifest.resolution
        if resolution != recipe.data.resolution:
            raise UserError(
                f"data.resolution={recipe.data.resolution}: the teacher's images are {resolution} px wide; set "
                f"data.resolution={resolution}"
            )
        self.latent = replace(self.own_latent, distribution=recipe.pairs.latent or self.own_latent.distribution)
        if self.model is not None and self.taught:
            try:
                self.model.check_truncation(self.truncation)
            except ValueError as error:
                raise UserError(f"pairs.truncation={self.truncation:g}: {error}") from error
        if self.store is not None:
            self._check_store(recipe)

    def _check_store(self, recipe: TinyGANRecipe) -> None:
        assert self.store is not None
        made = self.store.manifest
        path = self.store.path
        if made.num_classes != self.num_classes:
            raise UserError(
                f"pairs.store={path}: has {made.num_classes} classes, {recipe.compared_with} has {self.num_classes}"
            )
        if made.resolution != recipe.data.resolution:
            raise UserError(
                f"pairs.store={path}: its pictures are {made.resolution} px wide; set data.resolution={made.resolution}"
            )
        if self.sha256 is not None and made.teacher_sha256 != self.sha256:
            cure = "make a new store, or name its teacher" if made.teacher_sha256 else "set teacher=null"
            raise UserError(
                f"pairs.store={path}: made by another teacher ({made.teacher or 'unknown'}) than {recipe.teacher}; {cure}"
            )
        if made.truncation != self.truncation:
            raise UserError(
                f"pairs.store={path}: drawn at truncation {made.truncation:g}; set pairs.truncation={made.truncation:g}"
            )
        if made.latent != self.latent:
            raise UserError(
                f"pairs.store={path}: latents are {made.latent.words}, the recipe's {self.latent.words}; set "
                f"pairs.latent={made.latent.distribution}"
            )

    def inputs(self, draws: Draws) -> tuple[Tensor, Tensor]:
        """Latents and classes for the teacher, of one share of a batch."""
        return draws.latents(self.latent), draws.integers(self.num_classes)

    @torch.no_grad()
    def pictures(self, z: Tensor, label: Tensor) -> Tensor:
        """What the teacher makes of them, [N, 3, R, R]."""
        assert self.model is not None
        images: Tensor = self.model(z, label, truncation=self.truncation)
        return images

    def examples(self, count: int, seed: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        """(pictures in [-1, 1], classes) in batches, the classes in turn, `count` in all at most: the store's or drawn."""
        generator = torch.Generator().manual_seed(seed)
        if self.store is not None:
            rows = sorted(in_turn(self.store.labels)[:count])  # a store is read in sequence
            for start in range(0, len(rows), _CHUNK):
                _, labels, pixels = zip(*(self.store[i] for i in rows[start : start + _CHUNK]), strict=True)
                yield to_float(torch.stack(pixels).to(device)), torch.tensor(labels, device=device)
            return
        for start in range(0, count, _CHUNK):
            label = torch.arange(start, min(start + _CHUNK, count), device=device) % self.num_classes
            yield self.pictures(self.latent.draw(len(label), generator).to(device), label), label


def _load_model(key: str, name: str) -> ImageGenerator:
    with named(key, name):
        model = load_model(name, ImageGenerator).requires_grad_(False)
    if not model.num_classes:
        raise UserError(f"{key}={name}: has no classes; tinygan needs a class-conditional one")
    return model


def build_student(recipe: TinyGANRecipe, teaching: Teaching) -> ImageGenerator:
    """A new student that takes the teacher's latents and classes.

    Raises:
        UserError: widths or options that do not fit them.
    """
    s, resolution, latent = recipe.student, recipe.data.resolution, teaching.own_latent
    channels = list(s.channels)
    if len(latent.shape) == 3 and latent.shape[1:] != [resolution] * 2:
        raise UserError(
            f"data.resolution={resolution}: latents that are images must be as wide as the pictures; here they are {latent.words}"
        )
    try:
        if s.architecture == "distylegan":
            if len(latent.shape) != 1:
                raise ValueError(f"architecture=distylegan: takes vectors, the teacher's latents are {latent.words}")
            return DiStyleGAN(
                DiStyleGANConfig(
                    resolution, channels, teaching.num_classes, latent.shape[0], s.project_dim, latent.distribution
                )
            )
        return TinyGAN(
            TinyGANConfig(
                resolution,
                channels,
                teaching.num_classes,
                latent.shape,
                embed_dim=s.embed_dim,
                depthwise=s.depthwise,
                skip_z=s.skip_z,
                class_at_stem=s.class_at_stem,
                distribution=latent.distribution,
            )
        )
    except ValueError as error:
        raise UserError(f"student.{error}") from error


def build_critic(recipe: TinyGANRecipe, teaching: Teaching) -> Pretrained:
    """A new critic for the student.

    Raises:
        UserError: more layers than the pictures can be halved.
    """
    c = recipe.critic
    try:
        if c.architecture == "distylegan":
            return DiStyleCritic(
                DiStyleCriticConfig(
                    recipe.data.resolution, list(c.channels), teaching.num_classes, recipe.student.project_dim, c.slope
                )
            )
        return ProjectionDiscriminator(
            ProjectionDiscriminatorConfig(recipe.data.resolution, list(c.channels), teaching.num_classes, c.slope)
        )
    except ValueError as error:
        raise UserError(f"critic.{error}") from error
