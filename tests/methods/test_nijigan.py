"""NijiGAN's distillation: what compares the two by hand, the teacher as partner, balancers, what resumes."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from distilgan.errors import UserError
from distilgan.losses.contrastive import hard_negative_contrast, semantic_relation
from distilgan.losses.translation import haar
from distilgan.methods.draws import Draws
from distilgan.methods.nijigan import NijiGAN
from distilgan.networks.ode_translator import ODETranslator
from distilgan.perception.perceptual import build_perceptual
from distilgan.perception.structural import structural_similarity
from tests.conftest import lively, tiny_cut
from tests.methods.translators import batches_of, dealt, draws_of, encoded, gradients_of_a_step, prepared, projected
from tests.recipes import nijigan_recipe
from tests.training.running import assert_same, run

ALL = {
    "output": 10.0, "high_frequency": 2.0, "perceptual": 0.5, "alignment": 0.7, "relation": 0.1, "contrast": 0.2, "channel": 3.0,
}  # fmt: skip
# Thinner than the teacher, so that adapters are needed.
THIN = {"channels": [4, 5, 5], "blocks": 2}
Sets = dict[str, Any]


@pytest.fixture
def sets(photo_folder: Path, style_folder: Path, cut_teacher: Path) -> Sets:
    return {"photos": photo_folder, "style": style_folder, "teacher": cut_teacher}


def recipe_of(sets: Sets, **changes: Any) -> Any:
    return nijigan_recipe(sets["photos"], sets["style"], sets["teacher"], **changes)


def test_the_distillation_terms_by_hand(sets: Sets) -> None:
    """Blocks 1 and 2 of the student stand for 1 and 3 of the teacher's three."""
    method = prepared(recipe_of(sets, distillation=ALL, student=THIN, contrast={"hard_first": 7.0}))
    lively(method.generator, seed=2)
    (batch,) = batches_of(method)
    method._schedule(0.0)
    found = method.more_terms(method._look(batch, False, graph=True), Draws(0, 0, 4))
    g, t, x = method.generator, method.teacher, batch.photo
    made, wanted = g(x), t(x).detach()
    mine, theirs = encoded(g, x, ("block1", "block2")), encoded(t, x, ("block1", "block3"))
    target = dict(zip(mine, (f.detach() for f in theirs.values()), strict=True))
    adapted = {tap: method.adapters.layers[tap](f) for tap, f in mine.items()}
    bands: list[Tensor] = []
    low = made, wanted
    for _ in range(3):
        (a, high_a), (b, high_b) = (haar(y) for y in low)
        bands.append((high_a - high_b).abs().mean())
        low = a, b
    places = dealt(Draws(0, 0, 4), target, 8)
    q, k = (projected(method.teacher_projector, f, places) for f in (adapted, target))
    pairs = [(a, b.detach()) for a, b in zip(q, k, strict=True)]

    def alignment(a: Tensor, b: Tensor) -> Tensor:
        a, b = (f.permute(0, 2, 3, 1).reshape(-1, f.shape[1]) for f in (a, b))
        a, b = a @ a.t(), b @ b.t()
        return 1 - (a * b).sum() / (a.norm() * b.norm())

    expected = {
        "output": (made - wanted).abs().mean(),
        "high_frequency": torch.stack(bands).mean(),
        "perceptual": build_perceptual("efficientnet-lite0")(made, wanted).mean(),
        "alignment": torch.stack([alignment(mine[tap], target[tap]) for tap in mine]).mean(),
        "channel": torch.stack([(adapted[p].mean((2, 3)) - target[p].mean((2, 3))).square().mean() for p in mine]).mean(),
        "teacher_relation": torch.stack([semantic_relation(a, b) for a, b in pairs]).mean(),
        "teacher_contrast": torch.stack([hard_negative_contrast(a, b, 7.0, 0.07) for a, b in pairs]).mean(),
    }  # fmt: skip
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6, msg=name)
        gradients = [
            torch.autograd.grad(v, list(g.parameters()), retain_graph=True, allow_unused=True)
            for v in (found[name], value)
        ]
        for a, b in zip(*gradients, strict=True):
            assert (a is None) == (b is None)
            if a is not None and b is not None:
                torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5 + 1e-4 * float(b.abs().max()), msg=name)
    assert method.weights == {
        "gan": 1.0, "output": 10.0, "high_frequency": 2.0, "perceptual": 0.5, "alignment": 0.7, "teacher_relation": 0.1,
        "teacher_contrast": 0.2, "channel": 3.0,
    }  # fmt: skip


def test_the_step_follows_the_weighted_sum(sets: Sets) -> None:
    """Of generator, adapters and projector; the teacher stands still."""
    method = prepared(recipe_of(sets, distillation=ALL, student=THIN, unsupervised={"gan": 0.0}))
    (batch,) = batches_of(method)
    found = gradients_of_a_step(method, [batch], draws_of())
    terms = method.more_terms(method._look(batch, False, graph=True), Draws(0, 0, 4))
    total = torch.stack([method.weights[name] * value for name, value in terms.items()]).sum()
    assert set(method.trainable()) == {"generator", "adapters", "teacher_projector"}
    for player, network in method.trainable().items():
        gradients = torch.autograd.grad(total, list(network.parameters()), retain_graph=True, allow_unused=True)
        for (name, _), value in zip(network.named_parameters(), gradients, strict=True):
            if value is not None:
                torch.testing.assert_close(found[f"{player}.{name}"], value, rtol=1e-4, atol=1e-6)
    assert all(p.grad is None and not p.requires_grad for p in method.teacher.parameters())


def test_a_student_that_is_its_teacher_has_nothing_to_learn(sets: Sets) -> None:
    method = prepared(recipe_of(sets, distillation={**ALL, "contrast": 0.0}, student={"blocks": 3}))
    assert set(method.trainable()) == {"generator", "discriminator", "teacher_projector"}  # widths agree: no adapters
    terms = method.more_terms(method._look(batches_of(method)[0], False, graph=True), Draws(0, 0, 4))
    assert {k: v.item() for k, v in terms.items()} == pytest.approx(dict.fromkeys(terms, 0), abs=1e-5)


def test_students_begin_as_their_teacher_or_anew(sets: Sets) -> None:
    methods = [prepared(recipe_of(sets, student={"blocks": 3, "init": init})) for init in ("teacher", "fresh")]
    image = torch.rand(1, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        wanted = methods[0].teacher(image)
        assert torch.equal(methods[0].generator(image), wanted)
        assert not torch.allclose(methods[1].generator(image), wanted, atol=0.05)
    assert isinstance(methods[0].generator, ODETranslator)
    assert methods[0].generator.config.channels == [4, 5, 6]
    options = {"solver": "rk4", "steps": 2, "antialias_up": False, "time_input": True, "blocks": 2}
    config = prepared(recipe_of(sets, student=options)).generator.config
    assert {key: getattr(config, key) for key in options} == options
    assert config.antialias  # as the teacher


def test_features_of_other_sizes_are_brought_to_the_students(sets: Sets) -> None:
    """A student that halves once more sees the means of its teacher's features over two by two places."""
    changes = {"student": {"channels": [4, 4, 5, 5], "blocks": 1}, "data": {"resolution": 32}}
    method = prepared(recipe_of(sets, distillation={"channel": 1.0, "relation": 1.0}, **changes))
    (batch,) = batches_of(method)
    view = method._look(batch, False, graph=False)
    _, target = method._taught(batch.photo)
    theirs = encoded(method.teacher, batch.photo, ("block2",))["block2"]
    torch.testing.assert_close(target["block1"], F.avg_pool2d(theirs, 2))
    assert target["block1"].shape[2:] == view.features["block1"].shape[2:] == (4, 4)


# -- the supervised branch -------------------------------------------------------------------------------------------------

SUPERVISED = {"weight": 1.0, "schedule": "constant", "gan": 0.5, "nce": 0.25}


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_teacher_is_the_partner_where_there_are_no_pairs(sets: Sets, mirrored: bool) -> None:
    method = prepared(recipe_of(sets, supervised=SUPERVISED))
    lively(method.generator, seed=2)
    (batch,) = batches_of(method)
    view = method._look(batch, mirrored, graph=False)
    wanted = method.teacher(batch.photo)
    made = method.generator(batch.photo.flip(-1)).flip(-1) if mirrored else method.generator(batch.photo)
    torch.testing.assert_close(view.paired_style, wanted)
    torch.testing.assert_close(view.paired_made, made)
    real, fake = method._shown("pair_critic", view)
    torch.testing.assert_close(real, torch.cat([batch.photo, wanted], 1))
    torch.testing.assert_close(fake, torch.cat([batch.photo, made], 1))
    method._schedule(0.0)
    with torch.no_grad():
        terms = method.terms(view, Draws(0, 0, 4))
        expected = (method.pair_critic(fake) - 1).square().mean()
    assert float(terms["pair_gan"]) == pytest.approx(float(expected), rel=1e-4)
    assert (method.weights["pair_gan"], method.weights["pair_nce"]) == (0.5, 0.25)
    assert "nce" not in terms


def test_a_store_of_pairs_comes_before_the_teacher(sets: Sets, pair_folder: Path) -> None:
    method = prepared(recipe_of(sets, supervised=SUPERVISED, data={"pairs": str(pair_folder)}))
    (batch,) = batches_of(method)
    assert batch.paired_photo is not None
    view = method._look(batch, False, graph=False)
    assert torch.equal(view.paired_style, batch.paired_style)
    assert torch.equal(view.paired_photo, batch.paired_photo)
    torch.testing.assert_close(view.paired_made, method.generator(batch.paired_photo))


def test_without_a_teacher_its_sizes_are_taken(sets: Sets) -> None:
    """A baseline: the student's network trained on its own."""
    changes = {
        "like": str(sets["teacher"]), "distillation": {"output": 0}, "student": {"init": "fresh"}, "unsupervised": {"nce": 1.0},
    }  # fmt: skip
    method = prepared(nijigan_recipe(sets["photos"], sets["style"], None, **changes))
    assert method.teacher is None
    assert method.generator.config.channels == [4, 5, 6]
    report = method.step(batches_of(method), draws_of())
    assert {"gan", "nce"} <= set(report)
    assert "output" not in report
    assert method.state_dict()["teacher_sha256"] is None
    assert len(method.sample_rows(method.generator, 0)) == 3
    assert len(prepared(recipe_of(sets)).sample_rows(method.generator, 0)) == 4  # the teacher's


@pytest.mark.parametrize(
    "changes",
    [
        {"distillation": {**ALL, "alignment": 0.0}, "student": THIN, "supervised": SUPERVISED},
        {"unsupervised": {"gan": 0.0, "nce": 1.0, "flip_equivariance": True}, "student": {"solver": "midpoint"}},
    ],
)
def test_micro_batches_give_the_gradients_of_the_batch(changes: dict[str, Any], sets: Sets) -> None:
    """But for kernel alignment, which is of all places of a batch. Tolerance: the order of float32 sums."""
    found = []
    images = next(i for i in range(0, 48, 4) if Draws(0, i, 4).shared_uniform() < 0.5)
    for parts in (1, 2):
        method = prepared(recipe_of(sets, **copy.deepcopy(changes)))
        lively(method.generator, seed=2)
        found.append(gradients_of_a_step(method, batches_of(method, parts=parts), draws_of(parts=parts, images=images)))
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        atol = 1e-5 + 1e-4 * float(value.abs().max())
        torch.testing.assert_close(found[1][name], value, rtol=1e-3, atol=atol, msg=name)


@pytest.mark.parametrize(
    ("solver", "evaluations"), [({"solver": "rk4"}, 8), ({"solver": "dopri5", "adjoint": True}, 0)]
)
def test_evaluations_are_reported(solver: dict[str, Any], evaluations: int, sets: Sets) -> None:
    """Of the two blocks together in a forward."""
    method = prepared(recipe_of(sets, student=solver, unsupervised={"nce": 1.0}))
    report = method.step(batches_of(method), draws_of())
    found = float(report["evaluations"])
    assert found == evaluations or (evaluations == 0 and found >= 16 and found % 6 == 4)


def test_a_student_comes_near_its_teacher(sets: Sets) -> None:
    method = prepared(recipe_of(sets, unsupervised={"gan": 0.0}, optimiser={"lr": 0.01, "beta1": 0.5}))
    (batch,) = batches_of(method)
    seen = [float(method.step([batch], draws_of(images=4 * i))["output"]) for i in range(40)]
    assert seen[-1] < 0.6 * seen[0]


# -- balancers -------------------------------------------------------------------------------------------------------------

BALANCERS: dict[str, dict[str, Any]] = {
    "metakd": {"every": 2, "lr": 0.05, "held_out": 0.25},
    "gradnorm": {"every": 2, "lr": 0.05},
    "famo": {"lr": 0.05},
    "dwa": {"interval": 8},
    "uncertainty": {"lr": 0.05},
}
BALANCED: dict[str, Any] = {
    "distillation": {"output": 10.0, "high_frequency": 2.0, "relation": 0.1, "channel": 1.0}, "student": THIN,
}  # fmt: skip


@pytest.mark.parametrize("kind", BALANCERS)
def test_an_interrupted_student_ends_as_a_whole_one(
    kind: str, sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, the weights of its terms too; which have moved."""
    balancer = {"kind": kind, **BALANCERS[kind]}
    recipe = recipe_of(sets, balancer=balancer, training={"images": 64}, **copy.deepcopy(BALANCED))
    whole = run(recipe, tmp_path / "whole")
    steps, original = 0, NijiGAN.step

    def dies(self: NijiGAN, *args: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == 4:
            raise KeyboardInterrupt
        return original(self, *args)

    monkeypatch.setattr(NijiGAN, "step", dies)
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path / "twice")
    monkeypatch.undo()
    assert_same(whole, run(recipe, tmp_path / "twice"))
    last = [json.loads((tmp_path / d / "log.jsonl").read_text().splitlines()[-1]) for d in ("whole", "twice")]
    assert last[0]["weights"] == last[1]["weights"]
    assert set(last[0]["balance"]["factor"]) == {"output", "high_frequency", "teacher_relation", "channel"}
    assert set(last[0]["balance"]["factor"].values()) != {1.0}


def test_famo_sees_the_same_batch_at_the_same_places_after_all_of_the_step(sets: Sets) -> None:
    """Adapters and projector have moved too, and the teacher is asked once."""
    method = prepared(recipe_of(sets, balancer={"kind": "famo"}, **copy.deepcopy(BALANCED)))
    (batch,), seen, asked = batches_of(method), [], []
    method.teacher.register_forward_hook(lambda *_: asked.append(1))
    method.balancer.move = seen.append
    places: list[dict[str, Tensor]] = []
    method.teacher_projector.register_forward_pre_hook(lambda _, args: places.append(args[1]))
    method.step([batch], draws_of())
    assert len(asked) == 1
    assert len(places) == 4  # queries and keys, twice
    assert all(torch.equal(p[tap], places[0][tap]) for p in places for tap in p)
    terms = method.more_terms(method._look(batch, False, graph=False), Draws(0, 0, 4))
    base = {"output": 10.0, "high_frequency": 2.0, "teacher_relation": 0.1, "channel": 1.0}
    now = torch.tensor([terms[n].item() * base[n] for n in method.balancer.names], dtype=torch.float64)
    torch.testing.assert_close(seen[0].after, now, rtol=1e-4, atol=1e-7)


def test_the_meta_loss_by_hand(sets: Sets) -> None:
    """m₁ |S - T| + m₂ (1 - SSIM) on photos that are not trained on."""
    balancer = {"kind": "metakd", "every": 1, "held_out": 0.25, "meta_pixel": 2.0, "meta_structure": 0.5}
    method = prepared(recipe_of(sets, balancer=balancer, **copy.deepcopy(BALANCED)))
    held = set(method.held_out.names)
    assert len(held) == 3
    assert not held & set(method.feed.photos.names)
    assert len(method.feed.photos) == 9
    rows = Draws(0, 8, 8).uniform(4)[:4].tolist()  # half of a batch of 8
    crops = [method.held_out.crop(int(which * 3), place) for which, *place in rows]
    photo = torch.stack(crops).float() / 127.5 - 1
    with torch.no_grad():
        made, wanted = method.generator(photo), method.teacher(photo)
        expected = 2 * (made - wanted).abs().mean() + 0.5 * (1 - structural_similarity(made, wanted).mean())
    assert method.meta_loss(Draws(0, 8, 8)).item() == pytest.approx(float(expected), rel=1e-4)


def test_metakd_with_a_floor_of_one_is_fixed_distillation(sets: Sets, tmp_path: Path) -> None:
    """Bit for bit, on the same photos: probing gradients and the meta-loss leaves no trace."""
    learnt = {"kind": "metakd", "every": 2, "floor": 1.0, "held_out": 0.25, "lookahead": 0.5}
    recipes = [
        recipe_of(sets, balancer=balancer, training={"images": 32}, **copy.deepcopy(BALANCED))
        for balancer in (learnt, {"kind": "fixed", "held_out": 0.25})
    ]
    assert_same(run(recipes[0], tmp_path / "a"), run(recipes[1], tmp_path / "b"))


@pytest.mark.parametrize("kind", ["gradnorm", "metakd"])
def test_micro_batches_show_the_balancer_the_same_gradients(kind: str, sets: Sets) -> None:
    def factors(parts: int) -> Tensor:
        balancer = {"kind": kind, **BALANCERS[kind], "every": 1}
        recipe = recipe_of(sets, balancer=balancer, unsupervised={"gan": 0.0}, **copy.deepcopy(BALANCED))
        method = prepared(recipe)
        for i in range(3):
            batches = batches_of(method, 8, parts=parts, start=8 * i)
            method.step(batches, draws_of(8, parts=parts, images=8 * i))
        found: Tensor = method.balancer.factors
        return found

    one = factors(1)
    assert float((one - 1).abs().max()) > 1e-3
    torch.testing.assert_close(factors(2), one, rtol=1e-4, atol=1e-5)


# -- what does not fit -----------------------------------------------------------------------------------------------------


def test_a_changed_teacher_is_refused_on_resume(sets: Sets, tmp_path: Path) -> None:
    recipe = recipe_of(sets, training={"images": 16})
    run(recipe, tmp_path / "run")
    tiny_cut(seed=1).save_pretrained(sets["teacher"])
    longer = recipe_of(sets, training={"images": 24})
    with pytest.raises(
        UserError, match=r"teacher .*: its weights changed since this run began; start over with --fresh"
    ):
        run(longer, tmp_path / "run")
    tiny_cut().save_pretrained(sets["teacher"])
    run(longer, tmp_path / "run")


def test_what_does_not_fit_is_named(sets: Sets, teacher_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        prepared(recipe_of({**sets, "teacher": tmp_path / "nothing"}))
    with pytest.raises(UserError, match=r"teacher.*is .*, not "):
        prepared(recipe_of({**sets, "teacher": teacher_folder}))
    with pytest.raises(UserError, match=r"student or data\.resolution=18: must be a multiple of 4"):
        prepared(recipe_of(sets, data={"resolution": 18}))
    with pytest.raises(UserError, match=r"student or data\.folded=1, stem=4: at least 1, and odd"):
        prepared(recipe_of(sets, student={"stem": 4}))
    with pytest.raises(UserError, match=r"contrast\.taps: tap 'block3' is unknown"):
        prepared(recipe_of(sets, contrast={"taps": ["block3"]}))
