"""TP-GAN's training and its distillation: each term, the balancer's place in a step, what resumes."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from distilgan.balancing.probe import adam_scaling, angles, filled, gradients
from distilgan.data.face_pairs import FaceBatch, FacePairs
from distilgan.errors import UserError
from distilgan.methods.draws import Draws
from distilgan.methods.frontal import View, patches_of
from distilgan.methods.metakd import MetaKDDistillation, taps
from distilgan.methods.tpgan import TPGANTraining
from distilgan.networks.identity import IdentityConfig, IdentityNetwork
from distilgan.networks.tpgan import PATCHES, TPGAN, tpgan_config
from distilgan.perception.identity import IdentityFeatures, open_identity
from distilgan.perception.structural import structural_similarity
from distilgan.pipeline import build_method
from tests.conftest import tiny_tpgan
from tests.methods.test_stylekd import ENGINE
from tests.recipes import metakd_recipe, tpgan_recipe
from tests.training.running import assert_same, run


def prepared(recipe: Any) -> Any:
    method = build_method(recipe, FacePairs(recipe.data.path, 32))
    method.prepare(method.trainable(), dict(method.optimisers()), ENGINE)
    return method


def batch_of(method: Any, n: int = 4) -> FaceBatch:
    batch: FaceBatch = next(method.lessons().batches(n, 0)).to(torch.device("cpu"))
    return batch


def view_of(method: Any, n: int = 4) -> View:
    return method._look(batch_of(method, n), {}, graph=True)  # type: ignore[no-any-return]


def identity_network(folder: Path) -> IdentityFeatures:
    torch.manual_seed(1)
    IdentityNetwork(IdentityConfig(32, [4, 8], 6)).save_pretrained(folder / "identity")
    return open_identity(str(folder / "identity"), Path)


# -- the teacher's training ----------------------------------------------------------------------------------------------


def test_the_teachers_terms_by_hand(faces: Path) -> None:
    network = identity_network(faces)
    recipe = tpgan_recipe(faces, losses={"identity": 0.5}, identity_network="any")
    method = TPGANTraining(recipe, FacePairs(faces, 32), network)
    method.prepare(method.trainable(), dict(method.optimisers()), ENGINE)
    view = view_of(method)
    out, truth = view.out, view.batch.frontal
    terms = method.terms(view, Draws(0, 0, 4))

    def l1(a: Tensor, b: Tensor) -> float:
        return float((a - b).detach().abs().mean())

    w = recipe.losses
    expected = {
        "pixel": l1(out.image, truth),
        "half": l1(out.half, F.avg_pool2d(truth, 2)),
        "quarter": l1(out.quarter, F.avg_pool2d(truth, 4)),
        "local": sum(l1(out.patches[n], p) for n, p in patches_of(truth, view.batch.frontal_landmarks).items()) / 4,
        "symmetry": sum(
            weight * l1(x, x.flip(-1))
            for weight, x in ((w.pixel, out.image), (w.half, out.half), (w.quarter, out.quarter))
        ),
        "identity": 1 - float((network(out.image) * network(truth)).sum(1).mean()),
        "variation": float(out.image.diff(dim=2).abs().mean() + out.image.diff(dim=3).abs().mean()),
        "cross_entropy": float(F.cross_entropy(out.identity, view.batch.identity)),
    }
    assert {k: pytest.approx(v, rel=1e-5) for k, v in expected.items()} == {k: float(v) for k, v in terms.items()}


def test_the_identity_term_reaches_the_generator(faces: Path) -> None:
    """In the published distillation code it is computed without gradients."""
    network = identity_network(faces)
    only = {"pixel": 0, "half": 0, "quarter": 0, "symmetry": 0, "gan": 0, "variation": 0, "cross_entropy": 0}
    recipe = tpgan_recipe(faces, losses={**only, "local": 1e-9, "identity": 1.0}, identity_network="any")
    method = TPGANTraining(recipe, FacePairs(faces, 32), network)
    method.prepare(method.trainable(), dict(method.optimisers()), ENGINE)
    report = method.step([batch_of(method)], [Draws(0, 0, 4)])
    assert float(report["gradient_generator"]) > 1e-3


def test_a_teacher_learns_its_pairs(faces: Path) -> None:
    """Noise to the eye, but the same in each step; the frontal faces are smooth."""
    changes = {
        "network": {"width": 0.25, "local_width": 0.125, "code": 64},
        "losses": {"gan": 0, "symmetry": 0, "cross_entropy": 0},
    }
    method = prepared(tpgan_recipe(faces, optimiser={"lr": 0.001, "beta1": 0.5}, **changes))
    batch = batch_of(method)
    coarse = torch.rand(4, 3, 4, 4, generator=torch.Generator().manual_seed(5)) * 2 - 1
    batch.frontal = F.interpolate(coarse, scale_factor=8, mode="bilinear")
    seen = [float(method.step([batch], [Draws(0, 4 * i, 4)])["pixel"]) for i in range(60)]
    assert seen[-1] < 0.6 * seen[0]


@pytest.mark.parametrize("loss", ["logistic", "wgan"])
def test_the_critic_learns_what_is_real(faces: Path, loss: str) -> None:
    recipe = tpgan_recipe(faces, adversary={"loss": loss, "every": 3}, optimiser={"lr": 0.002, "beta1": 0.5})
    method = prepared(recipe)
    batch = batch_of(method)
    reports = [method.step([batch], [Draws(0, 4 * i, 4)]) for i in range(12)]
    assert ["gan" in r for r in reports] == [i % 3 == 2 for i in range(12)]
    assert float(reports[-1]["score_real"] - reports[-1]["score_fake"]) > float(
        reports[0]["score_real"] - reports[0]["score_fake"]
    )


# -- the student ---------------------------------------------------------------------------------------------------------


def test_a_student_that_is_its_teacher_has_nothing_to_learn(faces: Path, tpgan_teacher: Path) -> None:
    method = prepared(metakd_recipe(faces, tpgan_teacher, student={"width": 1.0, "local_width": 1.0}))
    assert method.adapters is not None
    assert not list(method.adapters.parameters())  # widths agree: none is needed
    method.generator.load_state_dict(method.teacher.state_dict())
    terms = method.terms(view_of(method), Draws(0, 0, 4))
    assert {k: float(v) for k, v in terms.items()} == pytest.approx({"pixel": 0, "local": 0, "feature": 0}, abs=1e-10)


def test_the_students_terms_by_hand(faces: Path, tpgan_teacher: Path) -> None:
    method = prepared(metakd_recipe(faces, tpgan_teacher, losses={"scales": [1, 0.5, 0.25]}))
    view = view_of(method)
    with torch.no_grad():
        taught = method.teacher(view.batch.profile, view.batch.landmarks, full=True)
    terms = method.terms(view, Draws(0, 0, 4))
    out = view.out
    pixel = sum(
        s * (a - b).abs().mean()
        for s, a, b in ((1, out.image, taught.image), (0.5, out.half, taught.half), (0.25, out.quarter, taught.quarter))
    )
    assert float(terms["pixel"]) == pytest.approx(float(pixel), rel=1e-5)
    local = sum((out.patches[n] - taught.patches[n]).abs().mean() for n in PATCHES) / 4
    assert float(terms["local"]) == pytest.approx(float(local), rel=1e-5)
    adapted = method.adapters(out.features)
    every = method.pairs.batch(range(len(method.pairs))).to(torch.device("cpu"))
    with torch.no_grad():
        over_data = method.teacher(every.profile, every.landmarks, full=True).features
    feature = (
        sum(((adapted[t] - f) ** 2).mean() / over_data[t].var(unbiased=False) for t, f in taught.features.items()) / 16
    )
    assert float(terms["feature"]) == pytest.approx(float(feature), rel=1e-5)


def test_adapters_learn_and_are_kept(faces: Path, tpgan_teacher: Path) -> None:
    method = prepared(metakd_recipe(faces, tpgan_teacher))
    assert set(method.trainable()) == {"generator", "discriminator", "adapters"}
    before = copy.deepcopy(method.adapters.state_dict())
    method.step([batch_of(method)], [Draws(0, 0, 4)])
    assert all(not torch.equal(before[k], v) for k, v in method.adapters.state_dict().items())
    widths = {k: v for k, v in taps(method.generator.config).items() if v != taps(method.teacher.config)[k]}
    assert len(method.adapters.layers) == len(widths)


def test_where_each_balanced_loss_reaches(faces: Path, tpgan_teacher: Path) -> None:
    """Local and feature terms both stop before the global decoder; the local encoders are what all three reach."""
    method = prepared(metakd_recipe(faces, tpgan_teacher, balancer={"every": 1, "held_out": 0.25}))
    terms = method.terms(view_of(method), Draws(0, 0, 4))
    names = [n for n, _ in method.generator.named_parameters()]
    reached: dict[str, set[str]] = {}
    for term, value in terms.items():
        found = torch.autograd.grad(value, list(method.generator.parameters()), retain_graph=True, allow_unused=True)
        reached[term] = {n for n, g in zip(names, found, strict=True) if g is not None}
    common = set.intersection(*reached.values())
    assert common == {n for n in names if re.match(r"local_pathways\.\w+\.conv\d", n)}
    method.step([batch_of(method)], [Draws(0, 0, 4)])
    assert {names[i] for i in method.balance._shared} == common
    assert not any(n.startswith("global_pathway.rebuild") for n in reached["local"] | reached["feature"])


def test_without_a_teacher_the_truth_is_learnt(faces: Path, tpgan_teacher: Path) -> None:
    changes = {"like": str(tpgan_teacher), "losses": {"feature": 0}, "balancer": {"kind": "fixed"}}
    method = prepared(metakd_recipe(faces, None, **changes))
    view = view_of(method)
    terms = method.terms(view, Draws(0, 0, 4))
    assert float(terms["pixel"]) == pytest.approx(float((view.out.image - view.batch.frontal).abs().mean()))
    assert set(terms) == {"pixel", "local"}
    assert method.references(view.batch) == []


# -- the balancer in a step ----------------------------------------------------------------------------------------------


def test_metakd_with_a_floor_of_one_is_fixed_distillation(faces: Path, tpgan_teacher: Path, tmp_path: Path) -> None:
    """Bit for bit, on the same people: probing gradients and the meta-loss leaves no trace."""
    learnt = {"kind": "metakd", "every": 2, "floor": 1.0, "held_out": 0.25, "lookahead": 0.5}
    recipes = [
        metakd_recipe(faces, tpgan_teacher, balancer=balancer)
        for balancer in (learnt, {"kind": "fixed", "held_out": 0.25})
    ]
    for recipe in recipes:
        assert set(MetaKDDistillation(recipe, FacePairs(faces, 32)).pairs.identities) < set(
            FacePairs(faces, 32).identities
        )
    assert_same(run(recipes[0], tmp_path / "a"), run(recipes[1], tmp_path / "b"))


def test_the_alignment_is_the_derivative_of_the_meta_loss(faces: Path, tpgan_teacher: Path) -> None:
    """h_i · scale = dM(θ - η P Σ λ_j g_j)/dλ_i at η → 0, against finite differences of the weights."""
    method = prepared(metakd_recipe(faces, tpgan_teacher, balancer={"kind": "metakd", "held_out": 0.25}))
    for i in range(3):  # so that Adam has moments
        method.step([batch_of(method)], [Draws(0, 4 * i, 4)])
    network = method.generator.double()
    method._variances()
    method.teacher.double(), method.adapters.double()
    batch = batch_of(method)
    batch = FaceBatch(
        batch.profile.double(), batch.frontal.double(), batch.landmarks, batch.frontal_landmarks, batch.identity
    )
    parameters = list(network.parameters())
    scaling = [s.double() for s in adam_scaling(method.optimiser["generator"], parameters)]
    terms = method.terms(method._look(batch, {}, graph=True), Draws(0, 0, 4))
    each = [filled(gradients(t, parameters), parameters) for t in terms.values()]

    def meta() -> Tensor:
        target = method.teacher(batch.profile, batch.landmarks).detach()
        return (network(batch.profile, batch.landmarks) - target).square().mean()  # smooth, unlike absolute values

    direction = filled(gradients(meta(), parameters), parameters)
    found = angles(each, direction, scaling)
    eta = 1e-6
    start = [p.detach().clone() for p in parameters]

    def after(weights: list[float]) -> float:
        with torch.no_grad():
            for k, p in enumerate(parameters):
                p.copy_(start[k] - eta * scaling[k] * sum(w * g[k] for w, g in zip(weights, each, strict=True)))
            return float(meta())

    length = float(sum((u * s * u).sum() for u, s in zip(direction, scaling, strict=True))) ** 0.5
    for i, g in enumerate(each):
        size = float(sum((x * s * x).sum() for x, s in zip(g, scaling, strict=True))) ** 0.5
        up, down = [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]
        up[i], down[i] = 1.5, 0.5
        slope = (after(up) - after(down)) / eta
        assert slope == pytest.approx(float(found[i]) * length * size, rel=2e-2, abs=1e-6 * length * size)


def test_gradients_are_shown_when_they_are_due(faces: Path, tpgan_teacher: Path) -> None:
    balancer = {"kind": "metakd", "every": 3, "warmup": 8, "held_out": 0.25}
    method = prepared(metakd_recipe(faces, tpgan_teacher, balancer=balancer))
    batch, moved = batch_of(method), []
    for i in range(9):
        before = method.balancer.factors
        method.step([batch], [Draws(0, 4 * i, 4)])
        moved.append(not torch.equal(before, method.balancer.factors))
    assert moved == [False, False, True, False, False, True, False, False, True]
    assert method.weights["pixel"] != 1.0
    assert set(method.balance.report()) == {"factor", "loss_change", "loss", "gradient", "alignment"}


@pytest.mark.parametrize("kind", ["gradnorm", "metakd"])
def test_micro_batches_show_the_same_gradients(kind: str, faces: Path, tpgan_teacher: Path) -> None:
    """And the meta-loss is that of the same faces."""

    def factors(parts: int) -> Tensor:
        balancer = {"kind": kind, "every": 1, "lr": 0.05, "held_out": 0.25}
        recipe = metakd_recipe(faces, tpgan_teacher, balancer=balancer, losses={"gan": 0, "feature": 0})
        method = prepared(recipe)
        feeds = [method.lessons().batches(8, 0, part=p, parts=parts) for p in range(parts)]
        for i in range(4):
            batches = [next(f).to(torch.device("cpu")) for f in feeds]
            draws = [Draws(0, 8 * i, 8, part=p, parts=parts) for p in range(parts)]
            method.step(batches, draws)
        return method.balancer.factors  # type: ignore[no-any-return]

    torch.testing.assert_close(factors(1), factors(2), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["metakd", "gradnorm", "famo", "dwa", "uncertainty"])
def test_an_interrupted_student_ends_as_a_whole_one(
    kind: str, faces: Path, tpgan_teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: dict[str, Any] = {"kind": kind}
    changes |= {"every": 2} if kind in ("metakd", "gradnorm") else {}
    changes |= {"interval": 8} if kind == "dwa" else {"lr": 0.05}
    # So long that the factors of an update after the interruption are used by steps after it.
    recipe = metakd_recipe(faces, tpgan_teacher, balancer=changes, training={"images": 96})
    whole = run(recipe, tmp_path / "whole")
    steps, original = 0, MetaKDDistillation.step

    def dies(self: MetaKDDistillation, *args: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == 5:
            raise KeyboardInterrupt
        return original(self, *args)

    monkeypatch.setattr(MetaKDDistillation, "step", dies)
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path / "twice")
    monkeypatch.undo()
    assert_same(whole, run(recipe, tmp_path / "twice"))


@pytest.mark.parametrize("kind", ["metakd", "gradnorm"])
def test_gradients_are_looked_at_whatever_the_critics_steps(kind: str, faces: Path, tpgan_teacher: Path) -> None:
    """The student moves at every third step; every second of its moves is looked at."""
    recipe = metakd_recipe(faces, tpgan_teacher, balancer={"kind": kind, "every": 2}, adversary={"every": 3})
    method = prepared(recipe)
    batch, moved = batch_of(method), []
    for i in range(12):
        before = method.balancer.factors
        method.step([batch], [Draws(0, 4 * i, 4)])
        moved.append(not torch.equal(before, method.balancer.factors))
    due = [2, 8] if kind == "gradnorm" else [5, 11]
    # GradNorm's first look finds every loss where it began, but gradients of different lengths.
    assert [i for i, m in enumerate(moved) if m] == due


def test_the_meta_loss_by_hand(faces: Path, tpgan_teacher: Path) -> None:
    """m₁ |S - t| + m₂ (1 - SSIM) + m₃ (1 - cos) on people that are not trained on, t the teacher's picture or the truth."""
    network = identity_network(faces)
    for target in ("teacher", "truth"):
        balancer = {
            "meta_target": target, "meta_pixel": 2.0, "meta_structure": 0.5, "meta_identity": 0.25, "held_out": 0.25,
            "meta_share": 0.5,
        }  # fmt: skip
        recipe = metakd_recipe(faces, tpgan_teacher, balancer=balancer, identity_network="any")
        method = MetaKDDistillation(recipe, FacePairs(faces, 32), network)
        method.prepare(method.trainable(), dict(method.optimisers()), ENGINE)
        assert method.meta_pairs is not None
        assert not set(method.meta_pairs.identities) & set(method.pairs.identities)
        chosen = Draws(0, 8, 8).integers(len(method.meta_pairs))[:4]  # half of a batch of 8
        batch = method.meta_pairs.batch(chosen.tolist()).to(torch.device("cpu"))
        with torch.no_grad():
            made = method.generator(batch.profile, batch.landmarks)
            wanted = method.teacher(batch.profile, batch.landmarks) if target == "teacher" else batch.frontal
            expected = 2 * (made - wanted).abs().mean() + 0.5 * (1 - structural_similarity(made, wanted).mean())
            expected += 0.25 * (1 - F.cosine_similarity(network(made), network(wanted)).mean())
        assert float(method.meta_loss(Draws(0, 8, 8))) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("reach", ["all", "own"])
def test_the_balancer_is_shown_the_angles_to_the_meta_loss(reach: str, faces: Path, tpgan_teacher: Path) -> None:
    balancer = {"every": 2, "held_out": 0.25, "reach": reach}
    method = prepared(metakd_recipe(faces, tpgan_teacher, balancer=balancer, losses={"gan": 0}))
    batch, seen = batch_of(method), []
    method.step([batch], [Draws(0, 0, 4)])
    parameters = list(method.generator.parameters())
    scaling = adam_scaling(method.optimiser["generator"], parameters)
    terms = method.terms(method._look(batch, {}, graph=True), Draws(0, 4, 4))
    each = [gradients(t, parameters) for t in terms.values()]
    direction = filled(gradients(method.meta_loss(Draws(0, 4, 4)), parameters), parameters)
    shared = [p for n, p in method.generator.named_parameters() if re.match(r"local_pathways\.\w+\.conv\d", n)]
    norms = [torch.cat([g.flatten() for g in gradients(t, shared)]).norm() for t in terms.values()]  # type: ignore[union-attr]
    method.balancer.move = seen.append
    method.step([batch], [Draws(0, 4, 4)])
    torch.testing.assert_close(seen[0].alignment, angles(each, direction, scaling, own=reach == "own").double())
    # By hand for the local term, which stops before the global pathway.
    number = list(terms).index("local")
    triples = [(u, s, g) for u, s, g in zip(direction, scaling, each[number], strict=True) if g is not None]
    against = triples if reach == "own" else list(zip(direction, scaling, direction, strict=True))
    length = sum(float((u * s * u).sum()) for u, s, _ in against) ** 0.5
    size = sum(float((g * s * g).sum()) for _, s, g in triples) ** 0.5
    cosine = -sum(float((u * s * g).sum()) for u, s, g in triples) / (length * size)
    assert float(seen[0].alignment[number]) == pytest.approx(cosine, rel=1e-4)
    base = torch.tensor([1.0, 3.0, 1.0])
    torch.testing.assert_close(seen[0].norms, (torch.stack(norms) * base).double(), rtol=1e-5, atol=0)


def test_looking_ahead_takes_the_meta_gradient_after_a_share_of_the_step(faces: Path, tpgan_teacher: Path) -> None:
    balancer = {"every": 2, "held_out": 0.25, "lookahead": 0.5}
    method = prepared(metakd_recipe(faces, tpgan_teacher, balancer=balancer, losses={"gan": 0}))
    batch = batch_of(method)
    method.step([batch], [Draws(0, 0, 4)])
    parameters = list(method.generator.parameters())
    before = [p.detach().clone() for p in parameters]
    scaling = adam_scaling(method.optimiser["generator"], parameters)
    terms = method.terms(method._look(batch, {}, graph=True), Draws(0, 4, 4))
    each = [filled(gradients(t, parameters), parameters) for t in terms.values()]
    lr, weights = method.optimiser["generator"].param_groups[0]["lr"], [1.0, 3.0, 1.0]
    where: list[list[Tensor]] = []
    original = method.meta_loss
    method.meta_loss = lambda draws: (where.append([p.detach().clone() for p in parameters]), original(draws))[1]
    method.step([batch], [Draws(0, 4, 4)])
    for now, start, p, *found in zip(where[0], before, scaling, *each, strict=True):
        step = sum(w * g for w, g in zip(weights, found, strict=True))
        torch.testing.assert_close(now, start - 0.5 * lr * p * step, rtol=1e-4, atol=1e-6)


def test_famo_sees_the_same_batch_after_all_of_the_step(faces: Path, tpgan_teacher: Path) -> None:
    """Adapters have moved too, and the teacher is asked once."""
    method = prepared(metakd_recipe(faces, tpgan_teacher, balancer={"kind": "famo"}))
    batch, seen, asked = batch_of(method), [], []
    method.teacher.register_forward_hook(lambda *_: asked.append(1))
    method._variances()
    asked.clear()
    method.balancer.move = seen.append
    method.step([batch], [Draws(0, 0, 4)])
    assert len(asked) == 1
    terms = method.terms(method._look(batch, {}, graph=False), Draws(0, 0, 4))
    now = torch.tensor([float(terms[n]) for n in method.balancer.names]) * torch.tensor([1.0, 3.0, 1.0])
    torch.testing.assert_close(seen[0].after, now.double(), rtol=1e-5, atol=0)


# -- the critic ----------------------------------------------------------------------------------------------------------


def test_the_critics_losses_by_hand(faces: Path) -> None:
    real, fake = torch.rand(3, 3, 32, 32) * 2 - 1, torch.rand(3, 3, 32, 32) * 2 - 1
    method = prepared(tpgan_recipe(faces, adversary={"real": 0.9, "r1_gamma": 3.0, "r1_interval": 4}))
    loss, terms = method._critic_loss(real, fake, Draws(0, 0, 3))
    x = real.clone().requires_grad_()
    good, bad = method.discriminator(x).flatten(1), method.discriminator(fake).flatten(1)
    (gradient,) = torch.autograd.grad(good.mean(1).sum(), x, create_graph=True)
    r1 = gradient.square().sum((1, 2, 3)).mean()
    logistic = F.binary_cross_entropy_with_logits(good, torch.full_like(good, 0.9))
    logistic = logistic + F.binary_cross_entropy_with_logits(bad, torch.zeros_like(bad))
    assert float(terms["r1"]) == pytest.approx(float(r1), rel=1e-4)
    assert float(loss) == pytest.approx(float(logistic + 3.0 / 2 * 4 * r1), rel=1e-5)

    method = prepared(tpgan_recipe(faces, adversary={"loss": "wgan", "penalty": 7.0}))
    loss, _ = method._critic_loss(real, fake, Draws(0, 0, 3))
    share = Draws(0, 0, 3).uniform(1, 1, 1)
    between = (share * fake + (1 - share) * real).requires_grad_()
    (gradient,) = torch.autograd.grad(method.discriminator(between).flatten(1).mean(1).sum(), between)
    penalty = (gradient.flatten(1).norm(dim=1) - 1).square().mean()
    scores = method.discriminator(fake).mean() - method.discriminator(real).mean()
    assert float(loss) == pytest.approx(float(scores + 7 * penalty), rel=1e-4)


def test_teacher_and_student_are_given_the_same_noise(faces: Path, tpgan_teacher: Path) -> None:
    tiny_tpgan(32, z_dim=4).save_pretrained(tpgan_teacher)
    method = prepared(metakd_recipe(faces, tpgan_teacher))
    given: dict[str, Tensor] = {}
    for name, network in (("teacher", method.teacher), ("student", method.generator)):
        network.global_pathway.register_forward_pre_hook(lambda _, args, name=name: given.update({name: args[3]}))
    method._variances()
    method.step([batch_of(method)], [Draws(0, 0, 4)])
    assert torch.equal(given["teacher"], given["student"])
    assert float(given["teacher"].std()) == pytest.approx(0.02, rel=0.6)


# -- what does not fit ---------------------------------------------------------------------------------------------------


def test_a_missing_or_other_teacher_stops_the_run(faces: Path, tpgan_teacher: Path, tmp_path: Path) -> None:
    """The published code warns, and distils a random network."""
    with pytest.raises(UserError, match="no such folder"):
        prepared(metakd_recipe(faces, tmp_path / "nothing"))
    weights = (tpgan_teacher / "model.safetensors").read_bytes()
    (tpgan_teacher / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(UserError, match="damaged or cut short"):
        prepared(metakd_recipe(faces, tpgan_teacher))
    tiny_tpgan(64).save_pretrained(tpgan_teacher)
    with pytest.raises(UserError, match=r"data\.resolution=32: the teacher's faces are 64 px wide"):
        prepared(metakd_recipe(faces, tpgan_teacher))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"losses": {"pixel": 0, "local": 0}, "balancer": {"kind": "fixed"}}, "losses.pixel and losses.local are 0"),
        ({"losses": {"identity": 1}}, "identity_network is missing"),
        ({"identity_network": "x"}, "no term uses it"),
        ({"losses": {"local": 0, "feature": 0}}, "needs two of the terms pixel, local, feature"),
        ({"balancer": {"kind": "dwa", "alpha": 2}}, "balancer.alpha: kind=dwa does not use it"),
        ({"balancer": {"kind": "famo"}, "training": {"micro_batch": 4}}, "weighs whole batches"),
        ({"balancer": {"meta_pixel": 0, "meta_structure": 0}}, "there is no meta-loss"),
        ({"student": {"width": 2}}, "student.width=2"),
    ],
)
def test_recipes_that_would_do_nothing(changes: dict[str, Any], message: str, faces: Path, tpgan_teacher: Path) -> None:
    with pytest.raises(UserError, match=message):
        metakd_recipe(faces, tpgan_teacher, **changes)


def test_the_report_student_is_the_published_one() -> None:
    from distilgan.methods.metakd import student_config
    from distilgan.recipe import FrontalStudent

    student = student_config(tpgan_config(), FrontalStudent(width=1.0, local_width=0.25), 347)
    assert student == tpgan_config(128, 1.0, 0.25)
    with torch.device("meta"):
        assert sum(p.numel() for p in TPGAN(student).parameters()) == 91_832_687
