"""The four student terms and two critic terms, each against a calculation of its own."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from distilgan.data.feed import Batch
from distilgan.data.images import ImageSet
from distilgan.methods.base import Engine, Terms
from distilgan.methods.draws import Draws
from distilgan.methods.tinygan import TinyGANDistillation, falling
from distilgan.networks.distylegan import DiStyleCritic
from distilgan.networks.generator import ImageGenerator
from distilgan.networks.projection_discriminator import ProjectionDiscriminator, ProjectionDiscriminatorConfig
from distilgan.pipeline import build_method
from distilgan.recipe.conditional import ConditionalLosses
from tests.recipes import tinygan_recipe


def prepared(images: Path, teacher: Path | None, **changes: Any) -> TinyGANDistillation:
    recipe = tinygan_recipe(images, teacher, **changes)
    method = build_method(recipe, ImageSet(images, 16))
    assert isinstance(method, TinyGANDistillation)
    method.prepare(method.trainable(), dict(method.optimisers()), Engine())
    return method


def batch_of(method: TinyGANDistillation, images: Path, n: int = 8) -> Batch:
    feed = method.lessons()
    return next(feed.batches(n, 0)).to(torch.device("cpu"))


class Student(ImageGenerator):
    """A student that is its teacher."""

    def __init__(self, teacher: ImageGenerator) -> None:
        super().__init__()
        self.teacher, self.config = teacher, teacher.config

    @property
    def latent(self) -> Any:
        return self.teacher.latent

    @property
    def num_classes(self) -> int:
        return self.teacher.num_classes

    def forward(self, z: Tensor, label: Tensor | None = None, *, truncation: float = 1.0) -> Tensor:
        image: Tensor = self.teacher(z, label, truncation=truncation)
        return image


def terms_of_its_teacher(method: TinyGANDistillation, images: Path) -> Terms:
    """What a student that is its teacher is told, without the adversarial terms."""
    assert method.teaching.model is not None
    method.generator = Student(method.teaching.model)
    method.played["generator"] = method.generator
    method.discriminator.eval()
    lesson = method._lesson(batch_of(method, images), Draws(0, 0, 8))
    with torch.no_grad():
        return method._student_terms(lesson, method._own(lesson), None, adversarial=False)


def test_the_terms_are_those_of_the_objective(labelled_folder: Path, conditional_teacher: Path) -> None:
    """Everything computed once more from the same lesson, with nothing shared but the networks."""
    method = prepared(labelled_folder, conditional_teacher, losses={"adversarial_every": 1, "pixel_fall": None})
    batch, draws = batch_of(method, labelled_folder), Draws(0, 0, 8)
    lesson = method._lesson(batch, draws)
    critic, student = method.discriminator.eval(), method.generator.eval()
    assert method.teaching.model is not None
    assert batch.labels is not None
    target = method.teaching.model(lesson.z, lesson.label)
    torch.testing.assert_close(lesson.target, target)
    own, random = student(lesson.z, lesson.label), student(lesson.random_z, batch.labels)

    terms = method._critic_terms(lesson, batch, own, random)
    real, teacher_score, own_score, random_score = (
        critic(x, y)[0]
        for x, y in ((batch.images, batch.labels), (target, lesson.label), (own, lesson.label), (random, batch.labels))
    )
    distill = F.relu(1 - teacher_score).mean() + F.relu(1 + own_score).mean()
    gan = F.relu(1 - real).mean() + F.relu(1 + random_score).mean()
    torch.testing.assert_close(terms["critic_distill"], distill)
    torch.testing.assert_close(terms["critic_gan"], gan)
    torch.testing.assert_close(terms["discriminator"], distill + 0.2 * gan)

    found = method._student_terms(lesson, own, random, adversarial=True)
    pairs = zip(critic(own, lesson.label)[1], critic(target, lesson.label)[1], strict=True)
    feature = sum(alpha * (a - b).abs().mean() for alpha, (a, b) in zip((0.25, 1.0), pairs, strict=True))
    expected = {
        "feature": feature,
        "pixel": (target - own).abs().mean(),
        "distill_gan": -own_score.mean(),
        "gan": -random_score.mean(),
    }
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
    assert method.weights == {"feature": 1.0, "pixel": 0.2, "distill_gan": 0.01, "gan": 0.002}


def test_a_student_that_is_its_teacher_has_no_feature_and_no_pixel_distance(
    labelled_folder: Path, conditional_teacher: Path
) -> None:
    method = prepared(labelled_folder, conditional_teacher)
    terms = terms_of_its_teacher(method, labelled_folder)
    assert float(terms["feature"]) < 1e-6
    assert float(terms["pixel"]) < 1e-6


def test_adversarial_terms_enter_every_kth_step(labelled_folder: Path, conditional_teacher: Path) -> None:
    method = prepared(labelled_folder, conditional_teacher, losses={"adversarial_every": 3})
    feed = method.lessons().batches(8, 0)
    seen = []
    for i, batch in enumerate(islice(feed, 6)):
        report = method.step([batch.to(torch.device("cpu"))], [Draws(0, 8 * i, 8)])
        seen.append(sorted({"gan", "distill_gan"} & set(report)))
        assert {"feature", "critic_distill", "critic_gan"} <= set(report)
    assert seen == [[], [], ["distill_gan", "gan"], [], [], ["distill_gan", "gan"]]


@pytest.mark.parametrize(
    ("progress", "over", "steps", "factor"),
    [
        (0.0, 2 / 3, 20, 1.0),
        (1.5 / 30, 2 / 3, 20, 0.95),  # TinyGAN: 0.19 in the second of 30 epochs
        (20 / 30, 2 / 3, 20, 0.0),  # and 0 from the 21st on
        (0.25, 0.5, None, 0.5),
        (0.9, 0.5, None, 0.0),
        (0.9, None, None, 1.0),
    ],
)
def test_pixel_schedule(progress: float, over: float | None, steps: int | None, factor: float) -> None:
    assert falling(progress, over, steps) == pytest.approx(factor)


def test_as_published_distylegan_loses_its_pixel_term_after_twenty_steps(
    labelled_folder: Path, conditional_teacher: Path
) -> None:
    steps = 100
    method = prepared(
        labelled_folder,
        conditional_teacher,
        training={"images": 8 * steps},
        losses={"pixel_fall": 20 / steps, "pixel_steps": 20},
    )
    weights = [method._weights(8 * step).get("pixel", 0.0) for step in range(25)]
    expected = [max(0.0, 0.2 - 0.01 * step) for step in range(25)]
    assert weights == pytest.approx(expected)


def test_stale_features_are_those_from_before_the_critics_update(
    labelled_folder: Path, conditional_teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = {}
    for fresh in (True, False):
        torch.manual_seed(0)
        method = prepared(
            labelled_folder, conditional_teacher, losses={"fresh_features": fresh}, optimiser={"discriminator_lr": 0.5}
        )
        batch, kept = batch_of(method, labelled_folder), []
        terms = method._student_terms

        def spy(lesson: Any, *rest: Any, terms: Any = terms, method: Any = method, kept: Any = kept) -> Any:
            kept.append((lesson, [f.clone() for f in method._target_features(lesson)]))
            return terms(lesson, *rest)

        monkeypatch.setattr(method, "_student_terms", spy)
        before = {k: v.clone() for k, v in method.discriminator.state_dict().items()}
        method.step([batch], [Draws(0, 0, 8)])
        lesson, features = kept[0]
        now = method.discriminator.eval()(lesson.target, lesson.label)[1]
        method.discriminator.load_state_dict(before)
        old = method.discriminator(lesson.target, lesson.label)[1]
        gaps = [sum(float((a - b).abs().mean()) for a, b in zip(features, other, strict=True)) for other in (now, old)]
        used[fresh] = gaps
    assert used[True][0] < 1e-6 < used[True][1]
    # Between the state kept here and the critic's turn lies one power iteration of its spectral norm.
    assert used[False][1] < 0.2 * used[False][0]


CRITIC = {"critic_distill", "critic_gan"}


@pytest.mark.parametrize(
    ("losses", "terms", "critic"),
    [
        ({"feature": 0, "distill_gan": 0, "gan": 0, "pixel_fall": None}, {"pixel"}, False),
        ({"feature": 0, "pixel": 0, "adversarial_every": 1}, {"distill_gan", "gan"}, True),
        ({"gan": 0, "critic_gan": 0, "adversarial_every": 1, "pixel_fall": None}, {"feature", "pixel", "distill_gan"}, True),
        ({"moments": 1.0, "moments_samples": 16}, {"feature", "pixel", "moments"}, True),
        ({"moments": 1.0, "moments_samples": 16, "moments_per_class": False}, {"feature", "pixel", "moments"}, True),
    ],
)  # fmt: skip
def test_parts_of_the_objective_train_the_student(
    labelled_folder: Path, conditional_teacher: Path, losses: dict[str, Any], terms: set[str], critic: bool
) -> None:
    method = prepared(labelled_folder, conditional_teacher, losses=losses)
    before = [p.clone() for p in method.generator.parameters()]
    report = method.step([batch_of(method, labelled_folder)], [Draws(0, 0, 8)])
    assert set(report) & set(ConditionalLosses.model_fields) - CRITIC == terms
    assert ("discriminator" in report) == critic
    moved = [not torch.equal(a, b) for a, b in zip(before, method.generator.parameters(), strict=True)]
    assert sum(moved) > len(moved) / 2


def test_without_a_teacher(labelled_folder: Path, conditional_teacher: Path) -> None:
    losses = {
        "feature": 0,
        "pixel": 0,
        "distill_gan": 0,
        "critic_distill": 0,
        "gan": 1.0,
        "critic_gan": 1.0,
        "adversarial_every": 1,
    }
    method = prepared(labelled_folder, None, like=str(conditional_teacher), losses=losses)
    report = method.step([batch_of(method, labelled_folder)], [Draws(0, 0, 8)])
    assert set(report) >= {"gan", "critic_gan"}
    assert not {"feature", "pixel", "distill_gan", "critic_distill"} & set(report)
    assert method.references(method.grid_inputs(4, torch.Generator())) is None


def test_augmentation_is_the_same_for_teacher_and_student(labelled_folder: Path, conditional_teacher: Path) -> None:
    method = prepared(labelled_folder, conditional_teacher, critic={"augment": ["color", "translation", "cutout"]})
    terms = terms_of_its_teacher(method, labelled_folder)
    assert float(terms["feature"]) < 1e-6


# -- the critic and the class -----------------------------------------------------------------------------------------


def trained_critic(critic: Any) -> tuple[Tensor, Tensor]:
    """After learning that bright pictures are class 1 and dark ones class 0: scores of both kinds under both labels."""
    torch.manual_seed(0)
    optimiser = torch.optim.Adam(critic.parameters(), lr=0.01)
    label = torch.arange(16) % 2
    for _ in range(60):
        picture = (label * 1.0 - 0.5)[:, None, None, None] + 0.1 * torch.randn(16, 3, 16, 16)
        right, wrong = critic(picture, label)[0], critic(picture, 1 - label)[0]
        loss = F.relu(1 - right).mean() + F.relu(1 + wrong).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    bright, dark = torch.full((1, 3, 16, 16), 0.5), torch.full((1, 3, 16, 16), -0.5)
    both = torch.cat([bright, dark])
    with torch.no_grad():
        return critic(both, torch.tensor([1, 1]))[0].flatten(), critic(both, torch.tensor([0, 0]))[0].flatten()


def test_the_projection_critic_ranks_pictures_by_the_class_it_is_told() -> None:
    as_bright, as_dark = trained_critic(ProjectionDiscriminator(ProjectionDiscriminatorConfig(16, [8, 8], 2)))
    assert as_bright[0] > as_bright[1] + 0.5
    assert as_dark[1] > as_dark[0] + 0.5


def test_the_distylegan_critic_cannot(labelled_folder: Path, conditional_teacher: Path) -> None:
    """Its class only adds a constant: swapping labels never changes which of two pictures is ranked higher."""
    method = prepared(labelled_folder, conditional_teacher, critic={"architecture": "distylegan", "channels": [8, 8]})
    assert isinstance(method.discriminator, DiStyleCritic)
    as_bright, as_dark = trained_critic(DiStyleCritic(replace(method.discriminator.config, num_classes=2)))
    torch.testing.assert_close(as_bright[0] - as_bright[1], as_dark[0] - as_dark[1])


def test_the_students_gradient_depends_on_the_class(labelled_folder: Path, conditional_teacher: Path) -> None:
    method = prepared(labelled_folder, conditional_teacher)
    picture = torch.randn(1, 3, 16, 16, requires_grad=True)
    gradients = [
        torch.autograd.grad(method.discriminator(picture, torch.tensor([c]))[0].sum(), picture)[0] for c in (0, 1)
    ]
    assert float((gradients[0] - gradients[1]).abs().max()) > 1e-3 * float(gradients[0].abs().max())


@pytest.mark.parametrize("fresh", [True, False])
def test_accumulation_changes_nothing_but_rounding(
    labelled_folder: Path, conditional_teacher: Path, fresh: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With stored statistics, as batch normalisation over half a batch is another function. Tolerance: sums in other order."""
    found: list[dict[str, Tensor]] = []
    for parts in (1, 2):
        method = prepared(
            labelled_folder,
            conditional_teacher,
            losses={"adversarial_every": 1, "fresh_features": fresh, "pixel_fall": None},
        )
        method.generator.eval()
        gradients: dict[str, Tensor] = {}
        update = method._update

        def spy(name: str, report: Any, method: Any = method, update: Any = update, gradients: Any = gradients) -> None:
            network = method.trainable()[name]
            gradients.update(
                {f"{name}.{k}": p.grad.clone() for k, p in network.named_parameters() if p.grad is not None}
            )
            if name == "generator":  # the critic stands still, or its spectral norm would be another after two forwards
                update(name, report)
            else:
                method.optimiser[name].zero_grad(set_to_none=True)

        monkeypatch.setattr(method, "_update", spy)
        method.discriminator.train = lambda mode=True, d=method.discriminator: d  # type: ignore[method-assign,misc]
        for module in method.discriminator.modules():
            module.training = False
        batch = batch_of(method, labelled_folder)
        assert batch.labels is not None
        shares = [Batch(batch.images[p::parts], batch.labels[p::parts]) for p in range(parts)]
        method.step(shares, [Draws(0, 0, 8, part=p, parts=parts) for p in range(parts)])
        found.append(gradients)
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        torch.testing.assert_close(
            found[1][name], value, atol=1e-5 + 1e-4 * float(value.abs().max()), rtol=1e-3, msg=name
        )
