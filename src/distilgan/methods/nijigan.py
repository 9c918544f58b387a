"""NijiGAN: distilling a translator of photos into one whose bottleneck is a chain of neural ODEs.

Teacher T and student S see the same photo x. To the objective of `methods.translation`, whose supervised branch takes y_p = T(x_p)
from a store of pairs or, without one, from the teacher itself, the student adds what compares the two directly,

    w_out E |S(x) - T(x)| + w_hf L_hf + w_lp L_lpips + w_ka L_ka + w_rel L_src + w_con L_hdce + w_ch L_channel,

L_hf on the high wavelet bands of both pictures; the last four between the student's ODE blocks and the teacher's residual blocks
(kernel alignment; SRC and hDCE of projected places, the teacher's as keys; means of channels). The student begins as the teacher:
encoder and decoder as they are, each ODE's f from a residual block, as a residual block is an Euler step of it.

Sources: the NijiGAN report (arXiv 2412.19455); Jin et al. 2021 (alignment); Jung et al. 2022 (SRC and hDCE for compression); Zhang
et al. 2022 (wavelets); Ren et al. 2021 (channels).
"""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distilgan.data.unpaired import TranslationBatch, TranslationFeed
from distilgan.errors import UserError, named
from distilgan.losses.contrastive import hard_negative_contrast, semantic_relation
from distilgan.losses.feature_matching import pixel_distance
from distilgan.losses.translation import channel_distance, high_frequency_distance, kernel_alignment
from distilgan.methods.balance import meta_count, meta_distance
from distilgan.methods.base import Terms
from distilgan.methods.draws import Draws
from distilgan.methods.inheritance import inherit, nearest_blocks
from distilgan.methods.translation import Features, TranslationMethod, View
from distilgan.networks.ode_translator import ODEConfig, ODETranslator
from distilgan.networks.patch_projector import PatchProjector, Places
from distilgan.networks.pretrained import network_sha256
from distilgan.networks.resnet_translator import ResnetTranslator
from distilgan.perception.perceptual import build_perceptual
from distilgan.recipe import NijiGANRecipe
from distilgan.runs import load_model


class Adapters(nn.Module):
    """1x1 convolutions from the student's blocks to the teacher's width, none where they agree."""

    def __init__(self, taps: tuple[str, ...], width: int, target: int) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({tap: nn.Conv2d(width, target, 1) for tap in taps} if width != target else {})

    def forward(self, features: Features) -> Features:
        return {tap: self.layers[tap](f) if tap in self.layers else f for tap, f in features.items()}


class NijiGAN(TranslationMethod):
    """Teacher beside student."""

    def __init__(self, recipe: NijiGANRecipe, feed: TranslationFeed) -> None:
        key, name = ("teacher", recipe.teacher) if recipe.teacher else ("like", str(recipe.like))
        with named(key, name):
            like = load_model(name, ResnetTranslator).requires_grad_(False)
        self.teacher = like if recipe.teacher else None
        self.taught_by = (recipe.teacher, network_sha256(like)) if recipe.teacher else None
        d = recipe.distillation
        self.held_out = None
        if recipe.balancer.share_held_out:
            photos, self.held_out = feed.photos.hold_out(recipe.balancer.share_held_out, recipe.seed)
            feed = TranslationFeed(photos, feed.style, feed.pairs)
        super().__init__(recipe, feed, build_student(recipe, like))
        self.compared = nearest_blocks(self.generator.config.blocks, like.config.blocks)
        widths = [network.tap_widths(["block1"])["block1"] for network in (self.generator, like)]
        features = bool(d.alignment or d.relation or d.contrast or d.channel)
        self.more_taps = tuple(self.compared) if features and self.teacher is not None else ()
        self.adapters = Adapters(self.more_taps, *widths) if d.relation or d.contrast or d.channel else None
        self.teacher_projector = None
        if d.relation or d.contrast:
            self.teacher_projector = PatchProjector(dict.fromkeys(self.more_taps, widths[1]), recipe.contrast.width)
        self.perceptual = build_perceptual(d.perceptual_network) if d.perceptual else None
        self.weights |= {name: weight for name, weight in recipe.balanced().items() if weight}
        self.balance_by(recipe)

    # -- the objective -------------------------------------------------------------------------------------------------

    def partners(self, batch: TranslationBatch) -> tuple[Tensor | None, Tensor | None]:
        if not self.recipe.supervised.weight:
            return None, None
        if batch.paired_photo is not None:
            return batch.paired_photo, batch.paired_style
        return None, self._taught(batch.photo)[0]

    def more_terms(self, view: View, draws: Draws) -> Terms:
        """What compares student and teacher."""
        weights = self.weights
        terms: Terms = {}
        if self.teacher is None or not self.distils:
            return terms
        wanted, target, places = self.once_a_step(draws, lambda: self._lesson(view.photo, draws))
        if "output" in weights:
            terms["output"] = pixel_distance(view.made, wanted)
        if "high_frequency" in weights:
            terms["high_frequency"] = high_frequency_distance(view.made, wanted)
        if self.perceptual is not None:
            with self.engine.autocast():
                terms["perceptual"] = self.perceptual(view.made, wanted).mean()
        if "alignment" in weights:
            terms["alignment"] = _mean([kernel_alignment(view.features[tap], f) for tap, f in target.items()])
        if self.adapters is None:
            return terms
        with self.engine.autocast():
            trains = "adapters" in self.trainable()
            adapted = self.played["adapters"](view.features) if trains else view.features
        if "channel" in weights:
            terms["channel"] = _mean([channel_distance(adapted[tap], f) for tap, f in target.items()])
        if self.teacher_projector is not None:
            c, projected = self.recipe.contrast, self._projected("teacher_projector", adapted, target, places)
            if "teacher_relation" in weights:
                terms["teacher_relation"] = self._mean(semantic_relation, projected)
            if "teacher_contrast" in weights:
                terms["teacher_contrast"] = self._mean(
                    lambda q, k: hard_negative_contrast(q, k, self.hardness, c.temperature, c.hard_mode), projected
                )
        return terms

    @property
    def distils(self) -> bool:
        """Whether any term compares the two."""
        assert isinstance(self.recipe, NijiGANRecipe)
        return any(self.recipe.balanced().values())

    def _lesson(self, photo: Tensor, draws: Draws) -> tuple[Tensor, Features, Places]:
        """The teacher's picture and features, and where these are compared."""
        picture, features = self._taught(photo)
        return picture, features, self._places(features, draws) if self.teacher_projector is not None else {}

    @torch.no_grad()
    def _taught(self, photo: Tensor) -> tuple[Tensor, Features]:
        """The teacher's picture, and its features by the student's taps."""
        assert self.teacher is not None
        with self.engine.autocast():
            if not self.more_taps:
                return self.teacher(photo).float(), {}
            picture, found = self.teacher(photo, tuple(dict.fromkeys(self.compared.values())))
        height, width = (side // self.generator.config.multiple for side in photo.shape[2:])
        pooled = {tap: F.adaptive_avg_pool2d(found[self.compared[tap]], (height, width)) for tap in self.more_taps}
        return picture.float(), pooled  # of the student's size, which is smaller where it halves more often

    def meta_loss(self, draws: Draws) -> Tensor:
        """How far the student's translations of photos that it is not trained on are from the teacher's."""
        assert self.held_out is not None
        assert self.teacher is not None
        b, device = self.balancing, next(self.generator.parameters()).device
        places = draws.uniform(4)[: meta_count(b, draws)].tolist()
        crops = [self.held_out.crop(int(which * len(self.held_out)), place) for which, *place in places]
        photo = TranslationBatch(torch.stack(crops), torch.stack(crops)).to(device).photo
        with self.engine.autocast():
            made = self.generator(photo)
            with torch.no_grad():
                target = self.teacher(photo)
        return meta_distance(b, made.float(), target.float())

    # -- one step ------------------------------------------------------------------------------------------------------

    def _update_projectors(self, report: Terms) -> None:
        super()._update_projectors(report)
        for name in ("adapters", "teacher_projector"):
            if name in self.trainable():
                self._update(name, report)

    def _update_generator(
        self, batches: list[TranslationBatch], draws: list[Draws], mirrored: bool, report: Terms
    ) -> None:
        def again() -> list[Terms]:
            views = [self._look(batch, mirrored, graph=False) for batch in batches]
            return [self.more_terms(view, draw) for view, draw in zip(views, draws, strict=True)]

        assert isinstance(self.generator, ODETranslator)
        report["evaluations"] = torch.tensor(float(sum(self.generator.evaluations)))
        self._balanced_update(draws, report, again)

    def _sync(self, name: str, last: bool) -> AbstractContextManager[Any]:
        stack = ExitStack()
        stack.enter_context(super()._sync(name, last))
        if name == "generator":
            for other in ("projector", "pair_projector", "adapters", "teacher_projector"):
                if other in self.trainable():
                    stack.enter_context(super()._sync(other, last))
        return stack

    # -- what the loop asks --------------------------------------------------------------------------------------------

    def trainable(self) -> dict[str, nn.Module]:
        players = super().trainable()
        if self.adapters is not None and len(self.adapters.layers):
            players["adapters"] = self.adapters
        if self.teacher_projector is not None:
            players["teacher_projector"] = self.teacher_projector
        return players

    def frozen(self) -> list[nn.Module]:
        return [*super().frozen(), *(n for n in (self.teacher, self.perceptual) if n is not None)]

    def references(self, photos: Tensor) -> list[Tensor]:
        return [] if self.teacher is None else [self.teacher(photos)]


def build_student(recipe: NijiGANRecipe, like: ResnetTranslator) -> ODETranslator:
    """A new student of the sizes that the recipe and the teacher `like` give, begun as it where shapes agree.

    Raises:
        UserError: sizes that do not fit each other.
    """
    s, c = recipe.student, like.config
    options = s.model_dump(exclude={"channels", "antialias", "antialias_up", "init"})
    try:
        config = ODEConfig(
            channels=list(s.channels or c.channels), resolution=recipe.data.resolution,
            antialias=c.antialias if s.antialias is None else s.antialias,
            antialias_up=c.antialias_up if s.antialias_up is None else s.antialias_up, **options,
        )  # fmt: skip
    except ValueError as error:
        raise UserError(f"student or data.{error}") from error
    student = ODETranslator(config)
    if s.init == "teacher":
        inherit(student, like)
    return student


def _mean(terms: list[Tensor]) -> Tensor:
    return torch.stack(terms).mean()
