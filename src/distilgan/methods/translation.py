"""What training a translator and distilling one share: photos, pictures in the style, critics, features compared place by place.

For a photo x, a picture y in the style and, in the supervised branch, a pair (x_p, y_p), the generator G minimises

    L = w_gan L_gan(G(x)) + w_nce (L_nce(x) + L_nce(y)) / 2 + w_rel L_rel(x) + w_con (L_con(x) + L_con(y)) / 2 + w_vgg L_vgg(x)
        + w_sup λ(t) (w_pgan L_gan(x_p, G(x_p)) + w_pnce L_pnce(G(x_p), y_p))

the terms of y only with `unsupervised.identity`; L_nce is PatchNCE, L_rel SRC, L_con hDCE between the projected features F(E(x))
and F(E(G(x))) of G's own encoder E, L_pnce PatchNCE between those of G(x_p) and y_p with a projector of its own. Critics: D on G(x)
against y, D_p on (x_p, G(x_p)) against (x_p, y_p).

Sources: Park et al. 2020 (CUT, FastCUT); Jung et al. 2022 (SRC, hDCE); Jiang et al., "Scenimefy", ICCV 2023 (both branches); the
NijiGAN report.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from distilgan.data.images import to_uint8
from distilgan.data.unpaired import TranslationBatch, TranslationFeed, picture_layout
from distilgan.errors import UserError
from distilgan.losses.adversarial import (
    discriminator_hinge,
    discriminator_least_squares,
    generator_hinge,
    generator_least_squares,
    r1_penalty,
)
from distilgan.losses.contrastive import hard_negative_contrast, patch_nce, semantic_relation
from distilgan.losses.translation import content_distance
from distilgan.methods.base import Method, Terms, add_terms
from distilgan.methods.draws import Draws
from distilgan.methods.schedules import factor, geometric, hardness
from distilgan.networks.patch_discriminator import PatchDiscriminator, PatchDiscriminatorConfig, patch_widths
from distilgan.networks.patch_projector import PatchProjector, Places
from distilgan.networks.pretrained import Pretrained
from distilgan.networks.resnet_translator import ResnetTranslator
from distilgan.perception.content import build_content
from distilgan.recipe import TranslationRecipe

Features = dict[str, Tensor]
COLUMNS = 8


@dataclass
class View:
    """One share of a step: the pictures, and what was made of them."""

    photo: Tensor
    style: Tensor
    paired_photo: Tensor | None
    paired_style: Tensor | None  # what the supervised branch wants of it
    made: Tensor  # of the photos
    photo_features: Features
    same: Tensor | None = None  # of the style pictures
    style_features: Features = field(default_factory=dict)
    paired_made: Tensor | None = None
    features: Features = field(default_factory=dict)  # of the photos, at taps that a subclass asks for
    mirrored: bool = False


class TranslationMethod(Method[TranslationBatch, ResnetTranslator]):
    """G against its critics; a subclass may add terms."""

    discriminator: PatchDiscriminator
    more_taps: tuple[str, ...] = ()

    def __init__(self, recipe: TranslationRecipe, feed: TranslationFeed, generator: ResnetTranslator) -> None:
        super().__init__(recipe.optimiser, recipe.training)
        self.recipe, self.feed, self.generator = recipe, feed, generator
        c, u, s = recipe.critic, recipe.unsupervised, recipe.supervised
        self.discriminator = PatchDiscriminator(
            PatchDiscriminatorConfig(patch_widths(c.width, c.layers), 3, c.antialias)
        )
        self.pair_critic = (
            PatchDiscriminator(PatchDiscriminatorConfig(patch_widths(c.width, c.layers), 6, c.antialias))
            if s.weight and s.gan
            else None
        )
        self.taps = tuple(recipe.contrast.taps)
        try:
            widths = generator.tap_widths(self.taps)
        except ValueError as error:
            raise UserError(f"contrast.taps: {error}") from error
        compares = u.nce or u.contrast or u.relation
        self.projector = PatchProjector(widths, recipe.contrast.width) if compares else None
        self.pair_projector = PatchProjector(widths, recipe.contrast.width) if s.weight and s.nce else None
        self.content = build_content(u.content_network) if u.content else None
        named = {"gan": u.gan, "nce": u.nce, "relation": u.relation, "contrast": u.contrast, "content": u.content}
        named |= {"pair_gan": s.weight * s.gan, "pair_nce": s.weight * s.nce}
        self.weights = {name: weight for name, weight in named.items() if weight}
        hinge = c.loss == "hinge"
        self._critic_loss: Callable[[Tensor, Tensor], Tensor] = (
            discriminator_hinge if hinge else discriminator_least_squares
        )
        self._generator_loss: Callable[[Tensor], Tensor] = generator_hinge if hinge else generator_least_squares

    @abstractmethod
    def partners(self, batch: TranslationBatch) -> tuple[Tensor | None, Tensor | None]:
        """Photos of the supervised branch (None: the batch's own) and what is wanted of them (None: there is none)."""

    def more_terms(self, view: View, draws: Draws) -> Terms:
        """Raw terms besides those above, by name."""
        return {}

    # -- one step ----------------------------------------------------------------------------------------------------

    def step(self, batches: list[TranslationBatch], draws: list[Draws]) -> Terms:
        report: Terms = {}
        self._schedule(draws[0].images / self.training.images)
        mirrored = False
        if self.recipe.unsupervised.flip_equivariance:
            shared = {draw.shared_uniform() for draw in draws}  # by all: what they draw after it is shared too
            mirrored = min(shared) < 0.5
        # With accumulation the pictures are made again for the generator's turn, instead of keeping all graphs.
        kept = self._look(batches[0], mirrored, graph=True) if len(batches) == 1 else None
        self._train_critics(batches, mirrored, kept, report)
        for critic in (self.discriminator, self.pair_critic):
            if critic is not None:
                critic.requires_grad_(False)
        self._begin_balance(draws)
        for i, (batch, draw) in enumerate(zip(batches, draws, strict=True)):
            with self._sync("generator", last=i == len(batches) - 1):
                view = kept or self._look(batch, mirrored, graph=True)
                terms = {**self.terms(view, draw), **self.more_terms(view, draw)}
                self._backward(terms, len(batches))
            add_terms(report, terms, 1 / len(batches))
        self._update_projectors(report)
        self._update_generator(batches, draws, mirrored, report)
        self.steps += 1
        return report

    def _update_generator(
        self, batches: list[TranslationBatch], draws: list[Draws], mirrored: bool, report: Terms
    ) -> None:
        self._update("generator", report)

    def _update_projectors(self, report: Terms) -> None:
        for name in ("projector", "pair_projector"):
            if name in self.trainable():
                self._update(name, report)

    def _schedule(self, t: float) -> None:
        """Weights as they are when the share `t` of the run is over."""
        s, c = self.recipe.supervised, self.recipe.contrast
        now = s.weight * factor(s.schedule, t, s.start)
        for name, weight in (("pair_gan", s.gan), ("pair_nce", s.nce)):
            if name in self.weights:
                self.weights[name] = now * weight
        self.hardness = hardness(t, c.hard_first, c.hard_last)
        critic = self.recipe.critic
        self.r1_gamma = geometric(t, critic.r1_gamma, critic.r1_last)

    def _look(self, batch: TranslationBatch, mirrored: bool, graph: bool) -> View:
        """One forward of G for all that it is to make: processes exchange the gradients of the last one alone."""

        def flipped(x: Tensor) -> Tensor:
            return x.flip(-1) if mirrored else x

        paired_photo, paired_style = self.partners(batch)
        groups = [flipped(batch.photo)]
        groups += [flipped(batch.style)] if self.recipe.unsupervised.identity else []
        groups += [paired_photo] if paired_photo is not None else []
        taps = (*self.taps, *(t for t in self.more_taps if t not in self.taps))
        n = len(batch.photo)
        with torch.set_grad_enabled(graph), self.engine.autocast():
            made, features = self.played["generator"](torch.cat(groups), taps)
        parts = list(made.float().split([len(g) for g in groups]))
        view = View(
            groups[0], batch.style, batch.photo if paired_photo is None else paired_photo, paired_style, parts[0],
            {tap: features[tap][:n] for tap in self.taps}, mirrored=mirrored,
        )  # fmt: skip
        view.features = {tap: features[tap][:n] for tap in self.more_taps}
        if self.recipe.unsupervised.identity:
            view.same = parts[1]
            view.style_features = {tap: features[tap][n : 2 * n] for tap in self.taps}
        if mirrored:  # what was made of the mirror image is compared with the picture itself
            with torch.no_grad():
                view.photo_features, view.style_features = self._encode(batch.photo), self._encode(batch.style)
        if paired_style is not None:
            view.paired_made = flipped(parts[0]) if paired_photo is None else parts[-1]
        return view

    # -- the critics -------------------------------------------------------------------------------------------------

    def _train_critics(self, batches: list[TranslationBatch], mirrored: bool, kept: View | None, report: Terms) -> None:
        wanted = [name for name in ("discriminator", "pair_critic") if name in self.trainable()]
        for name in wanted:
            self.trainable()[name].requires_grad_(True)
        c = self.recipe.critic
        lazy = c.r1_gamma > 0 and self.steps % c.r1_interval == 0
        for i, batch in enumerate(batches if wanted else []):
            view = kept or self._look(batch, mirrored, graph=False)
            for name in wanted:
                suffix = "" if name == "discriminator" else "_pair"
                with self._sync(name, last=i == len(batches) - 1):
                    real, fake = (shown.detach() for shown in self._shown(name, view))
                    real.requires_grad_(lazy)
                    with self.engine.autocast():
                        scores = self.played[name](torch.cat([real, fake])).float().chunk(2)
                    loss = self._critic_loss(*scores)
                    terms: Terms = {name: loss}
                    if lazy:
                        terms[f"r1{suffix}"] = r1 = r1_penalty(scores[0].mean((1, 2, 3)), real)
                        loss = loss + r1 * (self.r1_gamma / 2 * c.r1_interval)
                    self.engine.backward(loss / len(batches))
                terms |= {f"score_real{suffix}": scores[0].mean(), f"score_fake{suffix}": scores[1].mean()}
                add_terms(report, terms, 1 / len(batches))
        for name in wanted:
            self._update(name, report)

    def _shown(self, name: str, view: View) -> tuple[Tensor, Tensor]:
        """Real and made, as a critic sees them."""
        if name == "discriminator":
            return view.style, view.made
        assert view.paired_photo is not None
        assert view.paired_style is not None
        assert view.paired_made is not None
        return torch.cat([view.paired_photo, view.paired_style], 1), torch.cat([view.paired_photo, view.paired_made], 1)

    # -- the generator's terms -----------------------------------------------------------------------------------------

    def terms(self, view: View, draws: Draws) -> Terms:
        weights = self.weights
        terms: Terms = {}
        if "gan" in weights:
            with self.engine.autocast():
                terms["gan"] = self._generator_loss(self.discriminator(view.made))
        if self.projector is not None:
            terms |= self._compared(view.made, view.photo_features, draws, view.mirrored)
            if view.same is not None:
                same = self._compared(view.same, view.style_features, draws, view.mirrored)
                terms |= {name: (terms[name] + same[name]) / 2 for name in same if name != "relation"}
        if self.content is not None:
            with self.engine.autocast():
                with torch.no_grad():
                    target = self.content(view.photo)
                terms["content"] = content_distance(self.content(view.made), target)
        if "pair_gan" in weights:
            _, made = self._shown("pair_critic", view)
            assert self.pair_critic is not None
            with self.engine.autocast():
                terms["pair_gan"] = self._generator_loss(self.pair_critic(made))
        if "pair_nce" in weights:
            assert view.paired_made is not None
            assert view.paired_style is not None
            with torch.no_grad():
                wanted = self._encode(view.paired_style)
            places = self._places(wanted, draws)
            projected = self._projected("pair_projector", self._encode(view.paired_made), wanted, places)
            terms["pair_nce"] = self._mean(lambda q, k: patch_nce(q, k, self.recipe.contrast.temperature), projected)
        return terms

    def _compared(self, made: Tensor, keys: Features, draws: Draws, mirrored: bool) -> Terms:
        """Terms between what was made and the features of what it was made of."""
        c, weights = self.recipe.contrast, self.weights
        terms: Terms = {}
        queries = self._encode(made)
        if mirrored:
            queries = {tap: f.flip(-1) for tap, f in queries.items()}
        projected = self._projected("projector", queries, keys, self._places(keys, draws))
        if "nce" in weights:
            terms["nce"] = self._mean(lambda q, k: patch_nce(q, k, c.temperature), projected)
        if "contrast" in weights:
            terms["contrast"] = self._mean(
                lambda q, k: hard_negative_contrast(q, k, self.hardness, c.temperature, c.hard_mode), projected
            )
        if "relation" in weights:
            terms["relation"] = self._mean(semantic_relation, projected)
        return terms

    def _encode(self, image: Tensor) -> Features:
        with self.engine.autocast():
            found: Features = self.generator(image, self.taps, encode_only=True)
        return found

    def _places(self, keys: Features, draws: Draws) -> Places:
        """New ones of each tap, the same for all pictures and shares of the step."""
        wanted = self.recipe.contrast.places
        return {tap: draws.shared_order(f.shape[-2] * f.shape[-1])[:wanted] for tap, f in keys.items()}

    def _projected(self, name: str, queries: Features, keys: Features, places: Places) -> list[tuple[Tensor, Tensor]]:
        """(queries, keys) at the same places of each tap."""
        with self.engine.autocast():
            q = self.played[name](queries, places)
            with torch.no_grad():
                k = self.trainable()[name](keys, places)
        return [(q[tap], k[tap]) for tap in keys]

    @staticmethod
    def _mean(loss: Callable[[Tensor, Tensor], Tensor], projected: list[tuple[Tensor, Tensor]]) -> Tensor:
        return torch.stack([loss(q, k) for q, k in projected]).mean()

    # -- what the loop asks --------------------------------------------------------------------------------------------

    def trainable(self) -> dict[str, nn.Module]:
        players = {
            "generator": self.generator,
            "discriminator": self.discriminator if "gan" in self.weights else None,
            "pair_critic": self.pair_critic,
            "projector": self.projector,
            "pair_projector": self.pair_projector,
        }
        return {name: network for name, network in players.items() if network is not None}

    def optimisers(self) -> dict[str, torch.optim.Adam]:
        found = super().optimisers()
        if "pair_critic" in found:
            rate = self._optimiser.discriminator_lr or self._optimiser.lr
            found["pair_critic"].param_groups[0]["lr"] = rate
        return found

    def layout(self, device: torch.device) -> torch.memory_format:
        return picture_layout(device)

    def frozen(self) -> list[nn.Module]:
        return [] if self.content is None else [self.content]

    def lessons(self) -> TranslationFeed:
        return self.feed

    def finished(self, average: ResnetTranslator) -> tuple[ResnetTranslator, Pretrained | None]:
        return average, self.discriminator if "gan" in self.weights else None

    def references(self, photos: Tensor) -> list[Tensor]:
        """More rows of the sample grid: the teacher's pictures."""
        return []

    @torch.no_grad()
    def sample_rows(self, average: ResnetTranslator, seed: int) -> list[Tensor]:
        """photo | teacher's | generator's | pictures in the style, of crops in the middle."""
        device = next(average.parameters()).device

        def middles(pictures: Any) -> Tensor:
            return torch.stack([pictures.crop(i % len(pictures), (0.5, 0.5, 0.5)) for i in range(seed, seed + COLUMNS)])

        batch = TranslationBatch(middles(self.feed.photos), middles(self.feed.style)).to(device)
        rows = [batch.photo, *self.references(batch.photo), average(batch.photo), batch.style]
        return [to_uint8(row).cpu() for row in rows]
