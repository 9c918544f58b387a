"""CUT, FastCUT and Scenimefy: each term by hand, what it reaches, what the critics see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from distilgan.errors import UserError
from distilgan.losses.contrastive import hard_negative_contrast, patch_nce, semantic_relation
from distilgan.methods.draws import Draws
from distilgan.perception.content import build_content
from tests.methods.translators import (
    batches_of,
    dealt,
    draws_of,
    encoded,
    gradients_of_a_step,
    prepared,
    projected,
)
from tests.recipes import cut_recipe, merge

TAPS = ("image", "down1", "block1")
EVERYTHING: dict[str, Any] = {
    "unsupervised": {"nce": 1.0, "relation": 0.5, "contrast": 0.3, "content": 0.2, "identity": True},
    "supervised": {"weight": 2.0, "schedule": "constant", "gan": 0.7, "nce": 0.1},
    "contrast": {"hard_first": 7.0, "temperature": 0.2},
}


@pytest.fixture
def sets(photo_folder: Path, style_folder: Path, pair_folder: Path) -> dict[str, Any]:
    """Changes that name photos, style and pairs."""
    return {"path": str(photo_folder), "style": str(style_folder), "pairs": str(pair_folder)}


def everything(sets: dict[str, Any], **changes: Any) -> Any:
    tree = merge({"data": sets, **{k: dict(v) for k, v in EVERYTHING.items()}}, changes)
    return cut_recipe(sets["path"], sets["style"], **tree)


def unpaired(sets: dict[str, Any], **changes: Any) -> Any:
    return cut_recipe(sets["path"], sets["style"], **changes)


def terms_by_hand(method: Any, batch: Any, draws: Draws, mirrored: bool = False) -> dict[str, Tensor]:
    """Everything once more, with nothing shared but networks and losses of features."""
    g, c = method.generator, method.recipe.contrast

    def flip(x: Tensor) -> Tensor:
        return x.flip(-1) if mirrored else x

    def compared(source: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        made = g(flip(source))
        queries = {tap: flip(f) for tap, f in encoded(g, made, TAPS).items()}
        keys = encoded(g, source, TAPS)
        places = dealt(draws, keys, c.places)
        return made, projected(method.projector, queries, places), projected(method.projector, keys, places)

    made, q, k = compared(batch.photo)
    _, same_q, same_k = compared(batch.style)

    def mean(loss: Any, queries: list[Tensor], keys: list[Tensor]) -> Tensor:
        return sum(loss(a, b.detach()) for a, b in zip(queries, keys, strict=True)) / len(queries)  # type: ignore[return-value]

    def nce(a: Tensor, b: Tensor) -> Tensor:
        return patch_nce(a, b, c.temperature)

    def contrast(a: Tensor, b: Tensor) -> Tensor:
        return hard_negative_contrast(a, b, method.hardness, c.temperature)

    terms = {
        "gan": (method.discriminator(made) - 1).square().mean(),
        "nce": (mean(nce, q, k) + mean(nce, same_q, same_k)) / 2,
        "contrast": (mean(contrast, q, k) + mean(contrast, same_q, same_k)) / 2,
        "relation": mean(semantic_relation, q, k),
    }
    content = build_content("efficientnet-lite0")
    terms["content"] = (content(made) - content(flip(batch.photo)).detach()).square().mean()
    if batch.paired_photo is not None:
        paired = g(batch.paired_photo)
        terms["pair_gan"] = (method.pair_critic(torch.cat([batch.paired_photo, paired], 1)) - 1).square().mean()
        queries, keys = encoded(g, paired, TAPS), encoded(g, batch.paired_style, TAPS)
        places = dealt(draws, keys, c.places)
        rows = [projected(method.pair_projector, f, places) for f in (queries, keys)]
        terms["pair_nce"] = mean(nce, *rows)
    return terms


@pytest.mark.parametrize("mirrored", [False, True])
def test_every_term_by_hand(mirrored: bool, sets: dict[str, Any]) -> None:
    """Pairs are mirrored by the feed, not here."""
    method = prepared(everything(sets))
    (batch,) = batches_of(method)
    method._schedule(0.0)
    view = method._look(batch, mirrored, graph=True)
    found = method.terms(view, Draws(0, 0, 4))
    expected = terms_by_hand(method, batch, Draws(0, 0, 4), mirrored)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6, msg=name)


def test_the_step_follows_the_weighted_sum(sets: dict[str, Any]) -> None:
    """Gradients of all that learns: Σ weight · term, with the critics' own losses for them."""
    method = prepared(everything(sets))
    (batch,) = batches_of(method)
    found = gradients_of_a_step(method, [batch], draws_of())
    terms = terms_by_hand(method, batch, Draws(0, 0, 4))
    weights = {
        "gan": 1.0, "nce": 1.0, "relation": 0.5, "contrast": 0.3, "content": 0.2, "pair_gan": 2 * 0.7, "pair_nce": 2 * 0.1,
    }  # fmt: skip
    assert method.weights == pytest.approx(weights)
    made, paired = (method.generator(x).detach() for x in (batch.photo, batch.paired_photo))
    real = torch.cat([batch.paired_photo, batch.paired_style], 1)
    fake = torch.cat([batch.paired_photo, paired], 1)
    losses = {
        "generator": sum(weights[name] * value for name, value in terms.items()),
        "discriminator": critic_loss(method.discriminator, batch.style, made),
        "pair_critic": critic_loss(method.pair_critic, real, fake),
    }
    losses |= dict.fromkeys(("projector", "pair_projector"), losses["generator"])
    assert {name.split(".")[0] for name in found} == set(losses)
    for player, loss in losses.items():
        network = method.trainable()[player].requires_grad_(True)
        gradients = torch.autograd.grad(loss, list(network.parameters()), retain_graph=True)
        for (name, _), value in zip(network.named_parameters(), gradients, strict=True):
            atol = 1e-5 + 1e-4 * float(value.abs().max())
            torch.testing.assert_close(found[f"{player}.{name}"], value, rtol=1e-3, atol=atol, msg=f"{player}.{name}")


def critic_loss(critic: Any, real: Tensor, fake: Tensor) -> Tensor:
    critic.requires_grad_(True)
    loss: Tensor = ((critic(real) - 1).square().mean() + critic(fake).square().mean()) / 2
    return loss


def test_r1_is_of_the_mean_over_the_map_and_fades(sets: dict[str, Any]) -> None:
    """Halfway from 40 to 10 by equal factors γ is 20; every second step it counts twice."""
    changes = {"critic": {"r1_gamma": 40.0, "r1_last": 10.0, "r1_interval": 2}, "training": {"images": 16}}
    method = prepared(unpaired(sets, **changes))
    (batch,) = batches_of(method)
    made, critic = method.generator(batch.photo).detach(), method.discriminator
    for images, gamma in ((8, 20.0), (8, 0.0)):
        found = gradients_of_a_step(method, [batch], draws_of(images=images))
        real = batch.style.clone().requires_grad_()
        loss = critic_loss(critic, real, made)
        slope = torch.autograd.grad(critic(real).mean((1, 2, 3)).sum(), real, create_graph=True)[0]
        loss = loss + 2 * gamma / 2 * slope.square().sum((1, 2, 3)).mean()
        for name, p in critic.named_parameters():
            (value,) = torch.autograd.grad(loss, p, retain_graph=True, allow_unused=True)
            atol = 1e-5 + 1e-4 * float(value.abs().max())
            torch.testing.assert_close(found[f"discriminator.{name}"], value, rtol=1e-3, atol=atol, msg=name)


@pytest.mark.parametrize("term", ["nce", "relation", "contrast"])
def test_contrast_reaches_all_of_the_generator(term: str, sets: dict[str, Any]) -> None:
    """In NijiGAN's prototype features are taken without gradients, so that such a term trains nothing."""
    method = prepared(unpaired(sets, unsupervised={"nce": 0.0, term: 1.0}))
    method._schedule(0.0)
    view = method._look(batches_of(method)[0], False, graph=True)
    value = method.terms(view, Draws(0, 0, 4))[term]
    for name in ("generator", "projector"):
        network = method.trainable()[name]
        gradients = torch.autograd.grad(value, list(network.parameters()), retain_graph=True)
        largest = {n: float(g.abs().max()) for (n, _), g in zip(network.named_parameters(), gradients, strict=True)}
        # Biases that an instance norm takes out again have none; the last convolution's is a constant to no norm.
        assert all(v > 1e-6 for n, v in largest.items() if n.endswith("weight")), largest


def test_the_photos_features_stand_still(sets: dict[str, Any]) -> None:
    """What differs when the keys are from another network: the value, and the way to the generator stays that of the queries."""
    method = prepared(unpaired(sets))
    (batch,) = batches_of(method)
    method._schedule(0.0)
    view = method._look(batch, False, graph=True)
    assert view.photo_features["down1"].requires_grad  # it comes with the picture, whose graph it shares
    for tap, f in view.photo_features.items():
        view.photo_features[tap] = f.clone().requires_grad_()
    value = method.terms(view, Draws(0, 0, 4))["nce"]
    found = torch.autograd.grad(value, list(view.photo_features.values()), allow_unused=True)
    assert found == (None, None, None)


def test_queries_and_keys_are_taken_at_the_same_places(sets: dict[str, Any]) -> None:
    """New ones for photos and style pictures, none twice, and others in the next step."""
    method = prepared(everything(sets))
    seen: list[dict[str, list[int]]] = []
    for projector in (method.projector, method.pair_projector):
        projector.register_forward_pre_hook(
            lambda _, args: seen.append({tap: p.tolist() for tap, p in args[1].items()})
        )
    for images in (0, 4):
        method.step(batches_of(method), draws_of(images=images))
    assert len(seen) == 2 * 6
    assert all(queries == keys for queries, keys in zip(seen[::2], seen[1::2], strict=True))
    chosen = [str(places) for places in seen[::2]]
    assert len(set(chosen)) == 6
    sizes = {"image": 22 * 22, "down1": 16 * 16, "block1": 16}
    for places in seen:
        assert {tap: len(set(p)) for tap, p in places.items()} == dict.fromkeys(TAPS, 8)
        assert all(max(p) < sizes[tap] for tap, p in places.items())


@pytest.mark.parametrize(("loss", "micro"), [("least_squares", 1), ("hinge", 1), ("least_squares", 2)])
def test_what_the_critics_are_shown(loss: str, micro: int, sets: dict[str, Any]) -> None:
    method = prepared(everything(sets, critic={"loss": loss}))
    batches = batches_of(method, parts=micro)
    shown: dict[str, list[Tensor]] = {"discriminator": [], "pair_critic": []}
    scores: dict[str, list[Tensor]] = {"discriminator": [], "pair_critic": []}
    hooks = []
    for name in shown:
        critic = method.trainable()[name]

        def note(_: Any, given: Any, out: Tensor, name: str = name) -> None:
            shown[name].append(given[0].detach().clone())
            scores[name].append(out.detach().clone())

        hooks.append(critic.register_forward_hook(note))
    with torch.no_grad():
        made = [(method.generator(b.photo), method.generator(b.paired_photo)) for b in batches]
    report = method.step(batches, draws_of(parts=micro))
    for i, (batch, (picture, paired)) in enumerate(zip(batches, made, strict=True)):
        torch.testing.assert_close(shown["discriminator"][i], torch.cat([batch.style, picture]))
        real = torch.cat([batch.paired_photo, batch.paired_style], 1)
        fake = torch.cat([batch.paired_photo, paired], 1)
        torch.testing.assert_close(shown["pair_critic"][i], torch.cat([real, fake]))
    for name, suffix in (("discriminator", ""), ("pair_critic", "_pair")):
        halves = [s.chunk(2) for s in scores[name][:micro]]
        r, f = (torch.cat([h[side] for h in halves]) for side in (0, 1))
        if loss == "hinge":
            expected = F.relu(1 - r).mean() + F.relu(1 + f).mean()
        else:
            expected = ((r - 1).square().mean() + f.square().mean()) / 2
        assert float(report[name]) == pytest.approx(float(expected), rel=1e-4)
        assert float(report[f"score_real{suffix}"]) == pytest.approx(float(r.mean()), abs=1e-5)
        assert float(report[f"score_fake{suffix}"]) == pytest.approx(float(f.mean()), abs=1e-5)
        if loss == "hinge":
            judged = torch.cat(scores[name][micro:])
            term = "gan" if name == "discriminator" else "pair_gan"
            assert float(report[term]) == pytest.approx(-float(judged.mean()), rel=1e-4)


def test_the_generator_does_not_move_its_critics(sets: dict[str, Any]) -> None:
    """Nor they it: each player's step is its own."""
    method = prepared(everything(sets))
    moved: list[str] = []
    update = type(method)._update

    def note(name: str, report: Any) -> None:
        for other, network in method.trainable().items():
            has = any(p.grad is not None for p in network.parameters())
            if has and name in ("discriminator", "pair_critic"):
                assert other in ("discriminator", "pair_critic")
            elif has:
                assert other in ("generator", "projector", "pair_projector")
        update(method, name, report)
        moved.append(name)

    method._update = note
    method.step(batches_of(method), draws_of())
    assert moved[:2] == ["discriminator", "pair_critic"]
    assert sorted(moved[2:]) == ["generator", "pair_projector", "projector"]
    assert all(p.grad is None for network in method.trainable().values() for p in network.parameters())


def test_every_second_batch_is_mirrored_or_so(sets: dict[str, Any]) -> None:
    method = prepared(unpaired(sets, unsupervised={"flip_equivariance": True, "identity": True}))
    seen: list[bool] = []
    look = method._look

    def note(batch: Any, mirrored: bool, graph: bool) -> Any:
        seen.append(mirrored)
        view = look(batch, mirrored, graph)
        assert torch.equal(view.photo, batch.photo.flip(-1) if mirrored else batch.photo)
        return view

    method._look = note
    for i in range(14):
        method.step(batches_of(method), draws_of(images=4 * i))
    assert seen == [Draws(0, 4 * i, 4).shared_uniform() < 0.5 for i in range(14)]
    assert 2 < sum(seen) < 12


@pytest.mark.parametrize(
    "changes",
    [
        EVERYTHING,
        {"unsupervised": {"nce": 10.0, "flip_equivariance": True, "identity": True}},
        {"unsupervised": {"nce": 0.0, "gan": 0.0}, "supervised": {"weight": 1.0, "schedule": "constant"}},
    ],
)
def test_micro_batches_give_the_gradients_of_the_batch(changes: dict[str, Any], sets: dict[str, Any]) -> None:
    """Tolerance: the order of float32 sums."""
    paired = "supervised" in changes
    mirrored = "flip_equivariance" in changes["unsupervised"]
    images = next(i for i in range(0, 48, 4) if Draws(0, i, 4).shared_uniform() < 0.5)
    found = []
    for parts in (1, 2):
        recipe = cut_recipe(
            sets["path"], sets["style"], **merge({"data": sets} if paired else {}, {**changes})
        )  # fmt: skip
        method = prepared(recipe)
        found.append(
            gradients_of_a_step(
                method, batches_of(method, parts=parts), draws_of(parts=parts, images=images * mirrored)
            )
        )
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        atol = 1e-5 + 1e-4 * float(value.abs().max())
        torch.testing.assert_close(found[1][name], value, rtol=1e-3, atol=atol, msg=name)


# -- schedules, rates, sizes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("supervised", "expected"),
    [
        ({"schedule": "cosine_decay"}, [1.0, 0.7071, 0.0]),
        ({"schedule": "linear_ramp", "start": 0.5}, [0.0, 0.0, 1.0]),
        ({"schedule": "off_then_constant", "start": 0.5}, [0.0, 1.0, 1.0]),
        ({"schedule": "scenimefy_code"}, [1.0, 1.0, 1.0]),
    ],
)
def test_schedules_move_the_supervised_weights(
    supervised: dict[str, Any], expected: list[float], sets: dict[str, Any]
) -> None:
    recipe = everything(sets, supervised={**supervised, "weight": 3.0, "gan": 0.5, "nce": 0.1})
    method = prepared(recipe)
    found, hard = [], []
    for t in (0.0, 0.5, 1.0):
        method.step(batches_of(method), draws_of(images=int(48 * t)))
        found.append((method.weights["pair_gan"], method.weights["pair_nce"]))
        hard.append(method.hardness)
        assert method.weights["nce"] == 1.0
    assert [x for pair in found for x in pair] == pytest.approx(
        [3 * f * w for f in expected for w in (0.5, 0.1)], abs=1e-3
    )
    assert hard == [7.0, 8.5, 10.0]


def test_both_critics_have_the_critics_rate(sets: dict[str, Any]) -> None:
    method = prepared(everything(sets, optimiser={"lr": 0.001, "discriminator_lr": 0.004}))
    rates = {name: o.param_groups[0]["lr"] for name, o in method.optimisers().items()}
    assert rates == {
        "generator": 0.001, "projector": 0.001, "pair_projector": 0.001, "discriminator": 0.004, "pair_critic": 0.004,
    }  # fmt: skip


def test_only_what_is_used_is_there(sets: dict[str, Any]) -> None:
    method = prepared(unpaired(sets, unsupervised={"nce": 0.0, "content": 1.0}))
    assert set(method.trainable()) == {"generator", "discriminator"}
    assert len(method.frozen()) == 1
    assert method.finished(method.generator)[1] is method.discriminator
    method = prepared(everything(sets, unsupervised={"gan": 0.0}, supervised={"gan": 0.0}))
    assert set(method.trainable()) == {"generator", "projector", "pair_projector"}
    assert method.finished(method.generator)[1] is None
    report = method.step(batches_of(method), draws_of())
    assert {"nce", "pair_nce"} <= set(report)
    assert not {"gan", "pair_gan", "discriminator"} & set(report)


def test_what_does_not_fit_is_named(sets: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"contrast\.taps: tap 'block3' is unknown"):
        prepared(unpaired(sets, contrast={"taps": ["block3"]}))
    with pytest.raises(UserError, match=r"network or data\.resolution=18: must be a multiple of 4"):
        prepared(unpaired(sets, data={"resolution": 18}))


def test_rows_of_samples(sets: dict[str, Any]) -> None:
    """photo | made of it | style."""
    method = prepared(unpaired(sets))
    rows = method.sample_rows(method.generator, seed=3)
    assert [tuple(r.shape) for r in rows] == [(8, 3, 16, 16)] * 3
    assert all(r.dtype == torch.uint8 for r in rows)
    middle = method.feed.photos.crop(3, (0.5, 0.5, 0.5))
    assert torch.equal(rows[0][0], middle)


def test_a_generator_learns_a_style(photo_folder: Path, tmp_path: Path) -> None:
    """Photos of noise, style of one dark grey: what it makes grows darker."""
    from PIL import Image

    (tmp_path / "dark").mkdir()
    for i in range(4):
        Image.new("RGB", (20, 20), (40, 40, 40)).save(tmp_path / "dark" / f"{i}.png")
    recipe = cut_recipe(
        photo_folder, tmp_path / "dark", optimiser={"lr": 0.01, "beta1": 0.5}, unsupervised={"nce": 0.1}
    )
    method = prepared(recipe)
    (batch,) = batches_of(method)
    made = []
    for i in range(30):
        with torch.no_grad():
            made.append(float(method.generator(batch.photo).mean()))
        method.step([batch], draws_of(images=i % 12 * 4))
    assert made[-1] < made[0] - 0.25
