"""The balancer's place in a step: what it is shown, when, what resumes."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from distilgan.balancing.probe import adam_scaling, angles, gradient
from distilgan.data.face_pairs import FaceBatch, FacePairs
from distilgan.methods.base import Engine
from distilgan.methods.draws import Draws
from distilgan.methods.metakd import MetaKDDistillation
from distilgan.perception.structural import structural_similarity
from distilgan.recipe import MetaKDRecipe, load_recipe
from tests.methods.faces import batch_of, identity_network, prepared
from tests.recipes import metakd_recipe
from tests.training.running import assert_same, run


def reached_by(loss: Tensor, parameters: list[Any]) -> list[Tensor | None]:
    return list(torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True))


def each_of(vector: Tensor, parameters: list[Any]) -> list[Tensor]:
    """A vector over all parameters, one by one."""
    parts = vector.split([p.numel() for p in parameters])
    return [part.view_as(p) for part, p in zip(parts, parameters, strict=True)]


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
    scaling = each_of(adam_scaling(method.optimiser["generator"], parameters).double(), parameters)
    terms = method.terms(method._look(batch, {}, graph=True), Draws(0, 0, 4))
    vectors = torch.stack([gradient(t, parameters)[0] for t in terms.values()])
    each = [each_of(vector, parameters) for vector in vectors]

    def meta() -> Tensor:
        target = method.teacher(batch.profile, batch.landmarks).detach()
        return (network(batch.profile, batch.landmarks) - target).square().mean()  # smooth, unlike absolute values

    direction = list(torch.autograd.grad(meta(), parameters))
    found = angles(vectors, torch.cat([u.flatten() for u in direction]), torch.cat([x.flatten() for x in scaling]))
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
        method.prepare(method.trainable(), dict(method.optimisers()), Engine())
        assert method.meta_pairs is not None
        assert not set(method.meta_pairs.identities) & set(method.pairs.identities)
        chosen = Draws(0, 8, 8).integers(len(method.meta_pairs))[:4]  # half of a batch of 8
        batch = method.meta_pairs.batch(chosen.tolist()).to(torch.device("cpu"))
        with torch.no_grad():
            made = method.generator(batch.profile, batch.landmarks)
            wanted = method.teacher(batch.profile, batch.landmarks) if target == "teacher" else batch.frontal
            expected = 2 * (made - wanted).abs().mean() + 0.5 * (1 - structural_similarity(made, wanted).mean())
            expected += 0.25 * (1 - F.cosine_similarity(network(made), network(wanted)).mean())
        assert method.meta_loss(Draws(0, 8, 8)).item() == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(("reach", "lookahead"), [("all", 1.0), ("shared", 1.0), ("all", 0.0), ("all", 0.25)])
def test_the_balancer_is_shown_the_angles_to_the_meta_loss(
    reach: str, lookahead: float, faces: Path, tpgan_teacher: Path
) -> None:
    """The meta-loss's gradient is that after the share of Adam's step that the recipe names, and no trace is left."""
    balancer = {"every": 2, "held_out": 0.25, "reach": reach, "lookahead": lookahead}
    method = prepared(metakd_recipe(faces, tpgan_teacher, balancer=balancer, losses={"gan": 0}))
    batch, seen = batch_of(method), []
    method.step([batch], [Draws(0, 0, 4)])
    parameters = list(method.generator.parameters())
    before = [p.detach().clone() for p in parameters]
    terms = method.terms(method._look(batch, {}, graph=True), Draws(0, 4, 4))
    each = [reached_by(t, parameters) for t in terms.values()]
    shared = [p for n, p in method.generator.named_parameters() if re.match(r"local_pathways\.\w+\.conv\d", n)]
    norms = [torch.cat([g.flatten() for g in reached_by(t, shared) if g is not None]).norm() for t in terms.values()]
    method.balancer.move = seen.append
    unseen = copy.deepcopy(method)
    unseen.balance = None
    method.step([batch], [Draws(0, 4, 4)])
    unseen.step([batch], [Draws(0, 4, 4)])
    assert_same(method.generator.state_dict(), unseen.generator.state_dict())

    scaling = each_of(adam_scaling(method.optimiser["generator"], parameters), parameters)
    with torch.no_grad():
        for p, start in zip(parameters, before, strict=True):
            p.copy_((1 - lookahead) * start + lookahead * p)
    direction = torch.autograd.grad(method.meta_loss(Draws(0, 4, 4)), parameters)
    # By hand, pixel reaching all, the local term stopping before the global pathway.
    names = [n for n, _ in method.generator.named_parameters()]
    assert {n for n, g in zip(names, each[0], strict=True) if g is None} == set()
    assert not any(g is not None for n, g in zip(names, each[1], strict=True) if not n.startswith("local_pathways"))
    looked_at = [reach == "all" or (each[1][i] is not None or each[2][i] is not None) for i in range(len(names))]
    assert reach == "all" or 0 < sum(looked_at) < len(names)
    for number in range(2):
        rows = zip(direction, scaling, each[number], looked_at, strict=True)
        triples = [(u, s, torch.zeros_like(u) if g is None else g) for u, s, g, looked in rows if looked]
        length = sum(float((u * s * u).sum()) for u, s, _ in triples) ** 0.5
        size = sum(float((g * s * g).sum()) for _, s, g in triples) ** 0.5
        cosine = -sum(float((u * s * g).sum()) for u, s, g in triples) / (length * size)
        assert float(seen[0].alignment[number]) == pytest.approx(cosine, rel=1e-3)
    base = torch.tensor([1.0, 3.0, 1.0])
    torch.testing.assert_close(seen[0].norms, (torch.stack(norms) * base).double(), rtol=1e-5, atol=0)


def test_adams_scaling_is_that_of_its_step() -> None:
    """P times Adam's mean gradient times the rate is what it moved by; nothing where there never was a gradient."""
    torch.manual_seed(0)
    p = torch.nn.Parameter(torch.randn(6, dtype=torch.float64))
    adam = torch.optim.Adam([p], lr=0.1, betas=(0.0, 0.9))
    for _ in range(3):
        before, p.grad = p.detach().clone(), torch.randn(6, dtype=torch.float64)
        p.grad[0] = 0
        adam.step()
    scaling = adam_scaling(adam, [p])
    torch.testing.assert_close(before - p.detach(), 0.1 * scaling * p.grad, rtol=1e-10, atol=1e-12)
    assert scaling[0] == 0


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
    now = torch.tensor([terms[n].item() for n in method.balancer.names]) * torch.tensor([1.0, 3.0, 1.0])
    torch.testing.assert_close(seen[0].after, now.double(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("kind", ["uncertainty", "dwa", "gradnorm", "famo", "metakd"])
def test_weights_move_within_a_smoke_run(kind: str, faces: Path, tpgan_teacher: Path, tmp_path: Path) -> None:
    """What --smoke changes reaches every balancer; the shortest interval of DWA and look of MetaKD that a recipe allows, too."""
    smoke = load_recipe("metakd", [f"balancer.kind={kind}"], smoke=True)
    assert isinstance(smoke, MetaKDRecipe)
    short = {"images": smoke.training.images, "batch": smoke.training.batch}
    recipe = metakd_recipe(
        faces, tpgan_teacher, balancer=smoke.balancer.model_dump(), training=short, losses={"gan": 0}
    )
    run(recipe, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert set(lines[-1]["balance"]["factor"].values()) != {1.0}


def test_smoke_leaves_a_given_schedule_alone() -> None:
    given = load_recipe("metakd", ["balancer.every=4"], smoke=True)
    assert isinstance(given, MetaKDRecipe)
    assert given.balancer.every == 4


def test_gradients_go_to_other_processes_in_one_message(faces: Path, tpgan_teacher: Path) -> None:
    """NCCL takes no other than contiguous tensors, and a call for each of hundreds of parameters costs more than the step."""
    method = prepared(metakd_recipe(faces, tpgan_teacher, balancer={"every": 1, "held_out": 0.25}))
    sent: list[Tensor] = []

    def mean(value: Tensor) -> Tensor:
        sent.append(value)
        return value

    method.balance.mean = mean
    method.step([batch_of(method)], [Draws(0, 0, 4)])
    numbers = sum(p.numel() for p in method.generator.parameters())
    assert [tuple(s.shape) for s in sent] == [
        (3,),
        (3, numbers),
        (numbers,),
    ]  # losses, their gradients, the meta-loss's
    assert all(s.is_contiguous() for s in sent)
