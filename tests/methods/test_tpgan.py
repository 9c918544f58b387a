"""TP-GAN's training: each term by hand, the critic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from distilgan.data.face_pairs import FacePairs
from distilgan.errors import UserError
from distilgan.methods.base import Engine
from distilgan.methods.draws import Draws
from distilgan.methods.frontal import patches_of
from distilgan.methods.identity import IdentityTraining
from distilgan.methods.tpgan import TPGANTraining
from tests.methods.faces import batch_of, identity_network, prepared, view_of
from tests.recipes import identity_recipe, tpgan_recipe


def test_the_teachers_terms_by_hand(faces: Path) -> None:
    network = identity_network(faces)
    recipe = tpgan_recipe(faces, losses={"identity": 0.5}, identity_network="any")
    method = TPGANTraining(recipe, FacePairs(faces, 32), network)
    method.prepare(method.trainable(), dict(method.optimisers()), Engine())
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
        "identity": 1 - (network(out.image) * network(truth)).sum(1).mean().item(),
        "variation": (out.image.diff(dim=2).abs().mean() + out.image.diff(dim=3).abs().mean()).item(),
        "cross_entropy": F.cross_entropy(out.identity, view.batch.identity).item(),
    }
    assert {k: pytest.approx(v, rel=1e-5) for k, v in expected.items()} == {k: v.item() for k, v in terms.items()}


def test_the_identity_term_reaches_the_generator(faces: Path) -> None:
    """In the published distillation code it is computed without gradients."""
    network = identity_network(faces)
    only = {"pixel": 0, "half": 0, "quarter": 0, "symmetry": 0, "gan": 0, "variation": 0, "cross_entropy": 0}
    recipe = tpgan_recipe(faces, losses={**only, "local": 1e-9, "identity": 1.0}, identity_network="any")
    method = TPGANTraining(recipe, FacePairs(faces, 32), network)
    method.prepare(method.trainable(), dict(method.optimisers()), Engine())
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
    recipe = tpgan_recipe(
        faces,
        adversary={"loss": loss, "every": 3, "r1_interval": 2 if loss == "logistic" else 16},
        optimiser={"lr": 0.002, "beta1": 0.5},
    )
    method = prepared(recipe)
    batch = batch_of(method)
    reports = [method.step([batch], [Draws(0, 4 * i, 4)]) for i in range(12)]
    assert ["gan" in r for r in reports] == [i % 3 == 2 for i in range(12)]
    assert float(reports[-1]["score_real"] - reports[-1]["score_fake"]) > float(
        reports[0]["score_real"] - reports[0]["score_fake"]
    )


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
    assert terms["r1"].item() == pytest.approx(r1.item(), rel=1e-4)
    assert loss.item() == pytest.approx((logistic + 3.0 / 2 * 4 * r1).item(), rel=1e-5)

    method = prepared(tpgan_recipe(faces, adversary={"loss": "wgan", "penalty": 7.0, "r1_interval": 16}))
    loss, _ = method._critic_loss(real, fake, Draws(0, 0, 3))
    share = Draws(0, 0, 3).uniform(1, 1, 1)
    between = (share * fake + (1 - share) * real).requires_grad_()
    (gradient,) = torch.autograd.grad(method.discriminator(between).flatten(1).mean(1).sum(), between)
    penalty = (gradient.flatten(1).norm(dim=1) - 1).square().mean()
    scores = method.discriminator(fake).mean() - method.discriminator(real).mean()
    assert loss.item() == pytest.approx((scores + 7 * penalty).item(), rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"losses": {"pixel": 0, "gan": 0}}, "losses.pixel, gan and identity are 0: nothing reaches the layers"),
        (
            {"losses": {"pixel": 0, "half": 0, "quarter": 0, "symmetry": 1}},
            "losses.symmetry: takes its sizes' weights from losses.pixel, half and quarter, all 0",
        ),
        ({"adversary": {"penalty": 5}}, "adversary.penalty: loss=logistic does not use it"),
        ({"adversary": {"loss": "wgan", "r1_interval": 16, "real": 0.9}}, "adversary.real: loss=wgan does not use it"),
        ({"adversary": {"every": 7}}, "adversary.every=7: the run has 6 steps, so the generator never moves"),
    ],
)
def test_recipes_whose_generator_would_learn_nothing(changes: dict[str, Any], message: str, faces: Path) -> None:
    with pytest.raises(UserError, match=f"^recipe test: {message}"):
        tpgan_recipe(faces, **changes)


def test_sizes_that_no_network_has(faces: Path) -> None:
    with pytest.raises(UserError, match=r"^data\.resolution=16: must be a power of two, at least 32"):
        TPGANTraining(tpgan_recipe(faces, data={"resolution": 16}), FacePairs(faces, 16))
    with pytest.raises(UserError, match=r"^network\.channels has 7 entries; 32 px cannot be halved so often"):
        IdentityTraining(identity_recipe(faces, network={"channels": [4] * 7}), FacePairs(faces, 32))


def test_another_identity_network_stops_a_resumed_run(faces: Path) -> None:
    """Its term would aim elsewhere from then on."""
    recipe = tpgan_recipe(faces, losses={"identity": 1.0}, identity_network="any")
    method = TPGANTraining(recipe, FacePairs(faces, 32), identity_network(faces))
    state = method.state_dict()
    method.load_state_dict(state)
    with pytest.raises(UserError, match="identity_network: its weights changed since this run began"):
        method.load_state_dict({**state, "identity_sha256": "0"})
