"""TinyGAN: distilling a class-conditional generator of which only pictures are known.

For a latent z and class y the teacher's picture is T(z, y), the student's S(z, y); D is the student's own critic, D_i its
layers. The student minimises

    L_S = L_KD_feat + λ₁ L_KD_pix + λ₂ L_KD_S + λ₃ L_GAN_S,
    L_KD_feat = E Σ_i α_i |D_i(T(z, y)) - D_i(S(z, y))|,   L_KD_pix = E |T(z, y) - S(z, y)|,
    L_KD_S = -E D(S(z, y), y) on the teacher's inputs,     L_GAN_S = -E D(S(z', y'), y') on random ones,

and the critic L_D = L_KD_D + λ₄ L_GAN_D, both hinge losses: L_KD_D has the teacher's pictures as real and the student's as
fake, L_GAN_D the data and the student's random pictures.

Source: Chang and Lu, "TinyGAN: Distilling BigGAN for Conditional Image Generation", ACCV 2020. As published, the teacher's
features come from before the critic's update and λ₁ falls to 0; DiStyleGAN runs the same losses on networks of its own. The
optional moment term is after DiME (Yeo et al., ECCV 2024).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from distilgan.data.feed import Batch
from distilgan.errors import UserError
from distilgan.losses.adversarial import discriminator_hinge, generator_hinge
from distilgan.losses.feature_matching import (
    Moments,
    feature_distance,
    feature_moments,
    layer_weights,
    moment_distance,
    pixel_distance,
)
from distilgan.methods.balance import meta_count, meta_distance
from distilgan.methods.base import Terms, add_terms
from distilgan.methods.draws import Draws
from distilgan.methods.latent import LatentMethod
from distilgan.methods.teaching import Teaching, build_critic, build_student
from distilgan.networks.augment import DRAWS, diffaugment
from distilgan.networks.distylegan import DiStyleGAN
from distilgan.networks.generator import ImageGenerator
from distilgan.networks.pretrained import Pretrained
from distilgan.networks.spectral import add_spectral_norm, baked
from distilgan.perception.efficientnet import load_efficientnet_lite0
from distilgan.perception.features import resize_antialiased
from distilgan.recipe import TinyGANRecipe


@dataclass
class Lesson:
    """One share of a step."""

    z: Tensor  # the teacher's inputs
    label: Tensor
    target: Tensor | None  # T(z, y)
    random_z: Tensor  # and random ones, z' and y'
    random_label: Tensor
    augmentation: Tensor  # [n, DRAWS]
    target_features: list[Tensor] | None = None  # D_i(T) from before the critic's update


class TinyGANDistillation(LatentMethod):
    """Student against its own critic, beside the teacher's pictures."""

    labelled = True

    def __init__(self, recipe: TinyGANRecipe, teaching: Teaching) -> None:
        super().__init__(recipe.optimiser, recipe.training)
        self.losses, self.teaching, self.seed = recipe.losses, teaching, recipe.seed
        self.store = teaching.store if recipe.uses_pairs else None
        self.taught_by = (str(teaching.name), teaching.sha256) if teaching.sha256 else None
        self.uses_critic, self.uses_pairs, self.uses_random = recipe.uses_critic, recipe.uses_pairs, recipe.uses_random
        self.augment = recipe.critic.augment
        self.generator = build_student(recipe, teaching)
        self.discriminator = add_spectral_norm(build_critic(recipe, teaching), embeddings=True)
        self.alphas = list(recipe.losses.feature_layers or layer_weights(len(recipe.critic.channels)))
        if len(self.alphas) != len(recipe.critic.channels):
            raise UserError(f"losses.feature_layers={self.alphas}: the critic has {len(recipe.critic.channels)} layers")
        self.perception = load_efficientnet_lite0() if self.losses.moments else None
        if self.losses.moments and self.losses.moments_per_class and self.losses.moments_samples < teaching.num_classes:
            raise UserError(
                f"losses.moments_samples={self.losses.moments_samples}: the teacher has {teaching.num_classes} classes; "
                "raise it, or set losses.moments_per_class=false"
            )
        self.moments: Moments | None = None
        self.weights = self._weights(0)
        self.balance_by(recipe)

    # -- one step ----------------------------------------------------------------------------------------------------

    def step(self, batches: list[Batch], draws: list[Draws]) -> Terms:
        report: Terms = {}
        self.weights = self._weights(draws[0].images)
        every = self.losses.adversarial_every
        adversarial = self.steps % every == every - 1
        lessons = [self._lesson(batch, draw) for batch, draw in zip(batches, draws, strict=True)]
        judged = adversarial and "gan" in self.weights  # whether the student learns from its random pictures
        # With accumulation the pictures are made again for the student's turn, instead of keeping all graphs.
        kept = (self._own(lessons[0]), self._random(lessons[0], judged)) if len(lessons) == 1 else None

        if self.uses_critic:
            self.discriminator.requires_grad_(True).train()
            for i, (lesson, batch) in enumerate(zip(lessons, batches, strict=True)):
                with self._sync("discriminator", last=i == len(lessons) - 1):
                    with torch.no_grad():
                        own, random = kept or (self._own(lesson), self._random(lesson, False))
                    terms = self._critic_terms(lesson, batch, own, random)
                    self.engine.backward(terms["discriminator"] / len(lessons))
                add_terms(report, terms, 1 / len(lessons))
            self._update("discriminator", report)

        # In eval mode its spectral norm stands still: teacher's and student's features come from the same critic.
        self.discriminator.requires_grad_(False).eval()
        self._begin_balance(draws)
        for i, lesson in enumerate(lessons):
            with self._sync("generator", last=i == len(lessons) - 1):
                own, random = kept or (self._own(lesson), self._random(lesson, True) if judged else None)
                terms = self._student_terms(lesson, own, random if judged else None, adversarial)
                if terms:
                    self._backward(terms, len(lessons))
            add_terms(report, terms, 1 / len(lessons))
        if terms:
            self._balanced_update(
                draws, report, lambda: [self._student_terms(x, self._own(x), None, False) for x in lessons]
            )
        self.steps += 1
        return report

    def _critic_terms(self, lesson: Lesson, batch: Batch, own: Tensor | None, random: Tensor | None) -> Terms:
        """L_D = L_KD_D + λ4 L_GAN_D; all pictures pass the critic at once."""
        parts: dict[str, tuple[Tensor, Tensor]] = {}
        if own is not None and lesson.target is not None:
            parts |= {"teacher": (lesson.target, lesson.label), "student": (own.detach(), lesson.label)}
        if random is not None:
            parts |= {"real": (batch.images, lesson.random_label), "random": (random.detach(), lesson.random_label)}
        pictures, labels = (torch.cat(tensors) for tensors in zip(*parts.values(), strict=True))
        found, features = self._judge(self.played["discriminator"], pictures, labels, lesson)
        scores = dict(zip(parts, found.chunk(len(parts)), strict=True))
        terms = {f"score_{name}": score.mean() for name, score in scores.items()}
        loss = found.new_zeros([])
        if "teacher" in parts:
            terms["critic_distill"] = discriminator_hinge(scores["teacher"], scores["student"])
            loss = loss + self.losses.critic_distill * terms["critic_distill"]
            if not self.losses.fresh_features:
                lesson.target_features = [f.detach().chunk(len(parts))[0] for f in features]
        if "real" in parts:
            terms["critic_gan"] = discriminator_hinge(scores["real"], scores["random"])
            loss = loss + self.losses.critic_gan * terms["critic_gan"]
        return {**terms, "discriminator": loss}

    def _student_terms(self, lesson: Lesson, own: Tensor | None, random: Tensor | None, adversarial: bool) -> Terms:
        """The raw terms of L_S that this step has."""
        weights, terms = self.weights, Terms()
        if own is not None and lesson.target is not None:
            if "feature" in weights or (adversarial and "distill_gan" in weights):
                scores, features = self._judge(self.discriminator, own, lesson.label, lesson)
                if "feature" in weights:
                    terms["feature"] = feature_distance(features, self._target_features(lesson), self.alphas)
                if adversarial and "distill_gan" in weights:
                    terms["distill_gan"] = generator_hinge(scores)
            if "pixel" in weights:
                terms["pixel"] = pixel_distance(own, lesson.target)
            if "moments" in weights:
                terms["moments"] = moment_distance(self._look(own), self._groups(lesson.label), self._teacher_moments())
        if random is not None:
            scores, _ = self._judge(self.discriminator, random, lesson.random_label, lesson)
            terms["gan"] = generator_hinge(scores)
        return terms

    def meta_loss(self, draws: Draws) -> Tensor:
        """Distance of the pictures of new latents and classes."""
        count = meta_count(self.balancing, draws)
        z, label = (x[:count] for x in self.teaching.inputs(draws))
        with self.engine.autocast():
            made: Tensor = self.generator(z, label)
        return meta_distance(self.balancing, made.float(), self.teaching.pictures(z, label).float())

    # -- pictures, scores, features ----------------------------------------------------------------------------------

    def _lesson(self, batch: Batch, draws: Draws) -> Lesson:
        """Teacher's inputs and pictures from the store or drawn now; y' are the classes of the real pictures."""
        assert batch.labels is not None
        if batch.pairs is not None:
            z, label = batch.pairs.z, batch.pairs.label
            target: Tensor | None = batch.pairs.image
        else:
            z, label = self.teaching.inputs(draws)
            target = None
        if self.uses_pairs and target is None:
            with self.engine.autocast():
                target = self.teaching.pictures(z, label)
        random_z = draws.latents(self.generator.latent)
        return Lesson(z, label, target, random_z, batch.labels, draws.uniform(DRAWS))

    def _own(self, lesson: Lesson) -> Tensor | None:
        """S(z, y) where the teacher has a picture."""
        if lesson.target is None:
            return None
        with self.engine.autocast():
            own: Tensor = self.played["generator"](lesson.z, lesson.label)
        return own

    def _random(self, lesson: Lesson, graph: bool) -> Tensor | None:
        """S(z', y') where a critic looks at it; `graph`: the student learns from it too."""
        if not self.uses_random:
            return None
        with torch.set_grad_enabled(graph), self.engine.autocast():
            random: Tensor = self.played["generator"](lesson.random_z, lesson.random_label)
        return random

    def _judge(self, player: nn.Module, pictures: Tensor, label: Tensor, lesson: Lesson) -> tuple[Tensor, list[Tensor]]:
        """Scores and features; all pictures of a lesson are augmented alike, so that their features can be compared."""
        if self.augment:
            repeats = len(pictures) // len(lesson.augmentation)
            pictures = diffaugment(pictures, self.augment, lesson.augmentation.repeat(repeats, 1))
        with self.engine.autocast():
            scores, features = player(pictures, label)
        return scores.float(), features

    def _target_features(self, lesson: Lesson) -> list[Tensor]:
        if lesson.target_features is not None:
            return lesson.target_features
        assert lesson.target is not None
        with torch.no_grad():
            return self._judge(self.discriminator, lesson.target, lesson.label, lesson)[1]

    def _look(self, pictures: Tensor) -> Tensor:
        """Features of the fixed network, which sees next to nothing in pictures much smaller than those it learnt from."""
        assert self.perception is not None
        with self.engine.autocast():
            features: Tensor = self.perception(resize_antialiased(pictures.float(), self.losses.moments_size))
        return features

    def _groups(self, label: Tensor) -> Tensor:
        return label if self.losses.moments_per_class else torch.zeros_like(label)

    @torch.no_grad()
    def _teacher_moments(self) -> Moments:
        """Moments of the teacher's pictures, taken once."""
        if self.moments is None:
            device = next(self.generator.parameters()).device
            examples = self.teaching.examples(self.losses.moments_samples, self.seed, device)
            features, groups = zip(*((self._look(x), self._groups(y)) for x, y in examples), strict=True)
            count = self.generator.num_classes if self.losses.moments_per_class else 1
            self.moments = feature_moments(torch.cat(features), torch.cat(groups), count)
        return self.moments

    # -- what the loop asks ------------------------------------------------------------------------------------------

    def _weights(self, images: int) -> dict[str, float]:
        """λ of each term that takes part, after `images` images."""
        n = self.losses
        weights = {
            "feature": n.feature,
            "pixel": n.pixel * falling(images / self.training.images, n.pixel_fall, n.pixel_steps),
            "distill_gan": n.distill_gan,
            "gan": n.gan,
            "moments": n.moments,
        }
        return {name: weight for name, weight in weights.items() if weight}

    def references(self, inputs: dict[str, Any]) -> Tensor | None:
        if self.teaching.model is None or not self.teaching.taught:
            return None
        return self.teaching.pictures(inputs["z"], inputs["label"])

    def check_share(self, samples: int) -> None:
        if samples == 1 and isinstance(self.generator, DiStyleGAN):
            raise UserError("training.micro_batch: distylegan normalises vectors over the batch and needs at least 2")
        if samples == 1 and self.losses.moments:
            raise UserError("training.batch: losses.moments compares pairs of pictures; a process must hold at least 2")

    def frozen(self) -> list[nn.Module]:
        return [m for m in (self.teaching.model, self.perception) if m is not None]

    def finished(self, average: ImageGenerator) -> tuple[ImageGenerator, Pretrained | None]:
        return average, baked(self.discriminator) if self.uses_critic else None

    def state_dict(self) -> dict[str, Any]:
        pairs = self.store.identity if self.store else None
        return {**super().state_dict(), "pairs": pairs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.store and state["pairs"] != self.store.identity:
            raise UserError(f"{self.store.path}: its pairs changed since this run began; start over with --fresh")
        super().load_state_dict(state)


def falling(progress: float, over: float | None, steps: int | None) -> float:
    """A factor that falls linearly from 1 to 0 while `progress` goes from 0 to `over`, in `steps` equal steps or none.

    TinyGAN's code lowers λ1 = 0.2 by 0.01 after each of 30 epochs: over = 20/30 in 20 steps.
    """
    if over is None:
        return 1.0
    fallen = progress / over
    if steps:
        fallen = math.floor(fallen * steps + 1e-9) / steps
    return max(0.0, 1 - fallen)
