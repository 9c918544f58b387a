"""TP-GAN's distillation: each term of the student, and what does not fit."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from distilgan.data.archives import builtin_path
from distilgan.data.face_pairs import FacePairs, people_digest
from distilgan.errors import UserError
from distilgan.evaluation.cost import count_macs
from distilgan.methods.draws import Draws
from distilgan.methods.metakd import student_config, taps
from distilgan.networks.pretrained import network_sha256, read_config
from distilgan.networks.tpgan import PATCHES, TPGAN, tpgan_config
from distilgan.recipe import FrontalStudent, MetaKDRecipe, load_recipe
from distilgan.runs import load_model
from tests.conftest import tiny_tpgan
from tests.methods.faces import batch_of, prepared, view_of
from tests.recipes import metakd_recipe


def test_a_student_that_is_its_teacher_has_nothing_to_learn(faces: Path, tpgan_teacher: Path) -> None:
    method = prepared(metakd_recipe(faces, tpgan_teacher, student={"width": 1.0, "local_width": 1.0}))
    assert method.adapters is not None
    assert not list(method.adapters.parameters())  # widths agree: none is needed
    method.generator.load_state_dict(method.teacher.state_dict())
    terms = method.terms(view_of(method), Draws(0, 0, 4))
    assert {k: v.item() for k, v in terms.items()} == pytest.approx({"pixel": 0, "local": 0, "feature": 0}, abs=1e-10)


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
    assert {n for n, kept in zip(names, method.balance._reached(3), strict=True) if kept} == common
    assert not any(n.startswith("global_pathway.rebuild") for n in reached["local"] | reached["feature"])


def test_without_a_teacher_the_truth_is_learnt(faces: Path, tpgan_teacher: Path) -> None:
    changes = {"like": str(tpgan_teacher), "losses": {"feature": 0}, "balancer": {"kind": "fixed"}}
    method = prepared(metakd_recipe(faces, None, **changes))
    view = view_of(method)
    terms = method.terms(view, Draws(0, 0, 4))
    assert float(terms["pixel"]) == pytest.approx(float((view.out.image - view.batch.frontal).abs().mean()))
    assert set(terms) == {"pixel", "local"}
    assert method.references(view.batch) == []


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
        ({"losses": {"pixel": 0, "gan": 0}}, "nothing reaches the layers that make the picture"),
        ({"losses": {"scales": [0, 1, 1], "gan": 0}}, "losses.pixel at full size, gan and identity are 0"),
        ({"losses": {"pixel": 0, "scales": [1, 1, 0]}}, "losses.scales: losses.pixel is 0"),
        (
            {"balancer": {"every": 7}},
            "balancer.every=7, .*: the run has 6 steps, 48 images, so the weights would never",
        ),
        ({"balancer": {"every": 3, "warmup": 41}}, "balancer.every=3, balancer.warmup=41: "),
        ({"balancer": {"kind": "dwa", "interval": 21}}, "balancer.interval=21: the weights move after two of them"),
        ({"adversary": {"every": 7}}, "the generator never moves"),
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
    student = student_config(tpgan_config(), FrontalStudent(width=1.0, local_width=0.25), 347)
    assert student == tpgan_config(128, 1.0, 0.25)
    with torch.device("meta"):
        assert sum(p.numel() for p in TPGAN(student).parameters()) == 91_832_687


def test_the_packaged_student_is_of_the_packaged_teacher() -> None:
    """A third of its multiply-adds; it knows whom it and its teacher have learnt from, and none of the packaged test people."""
    teacher = load_model("builtin:poses64-teacher", TPGAN)
    student = load_model("builtin:poses64-student", TPGAN)
    facts = {name: read_config(builtin_path(f"builtin:poses64-{name}")) for name in ("teacher", "student")}
    assert facts["student"]["teacher_sha256"] == network_sha256(teacher)
    known = {name: set(tree["people"].split()) for name, tree in facts.items()}
    assert known["teacher"] <= known["student"]
    tested = FacePairs("builtin:poses64-test.zip", 64)
    assert not known["student"] & set(people_digest(tested).split())
    recipe = load_recipe("metakd")
    assert isinstance(recipe, MetaKDRecipe)
    assert student.config == student_config(teacher.config, recipe.student, 0)
    costs = [count_macs(network, **network.sample_inputs(1)) for network in (student, teacher)]
    assert costs[0] < 0.34 * costs[1]
