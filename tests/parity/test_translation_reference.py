"""Our translator, critic, projector, contrastive losses and whole steps against digits of the published codes.

The digits were made in float64 on the CPU by running CUT (taesungp/contrastive-unpaired-translation), Hneg_SRC (jcy132/Hneg_SRC)
and Scenimefy (Yuxinn-J/Scenimefy) at small widths on tensors filled by the formula of `filled.py`; no code or weight of theirs is
here. Their gradients were made contiguous in front of each instance norm, which torch 2.13 otherwise gets wrong for a batch of one
(`networks.statistics`).

Tolerances are relative to the largest of a summary's numbers. 1e-8 where ours runs in float64: the order of sums moved nothing by
more than 4e-12 when this was written, but another machine's sine may move a filled weight by a float32 step of 6e-8, one in some
thousands. 1e-6 for what ours casts to float32 (projections, scores), and for SRC and hDCE's weights, whose published code divides
rows of unit length by their length + 1e-7 once more. 1e-5 for a whole step, which ours runs in float32: 5e-7 was seen.
"""

from __future__ import annotations

import json
import math
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from distilgan.data.unpaired import TranslationBatch
from distilgan.losses.adversarial import discriminator_least_squares, generator_least_squares
from distilgan.losses.contrastive import hard_negative_contrast, hard_negative_weights, patch_nce, semantic_relation
from distilgan.losses.translation import content_distance
from distilgan.methods.base import Engine, Terms
from distilgan.methods.cut import CUTTraining
from distilgan.methods.draws import Draws
from distilgan.methods.schedules import factor, hardness
from distilgan.networks.patch_discriminator import PatchDiscriminator, PatchDiscriminatorConfig, patch_widths
from distilgan.networks.patch_projector import PatchProjector
from distilgan.networks.resnet_translator import CUTTranslator, ResnetConfig, doubling_widths
from distilgan.perception.content import VGG19Content
from distilgan.recipe import CUTRecipe, parse_recipe
from distilgan.teachers.cut import read_translator
from tests.parity.filled import fill_by_shape, latents, pictures

DIGITS = json.loads((Path(__file__).parent / "translation_reference.json").read_text())
EXACT, SINGLE, STEP = 1e-8, 1e-6, 1e-5
# blocks, antialias, antialias_up, and the official indices that are tapped
GENERATORS = {
    "9": (9, True, True, (0, 4, 8, 12, 16)),
    "6": (6, True, True, (0, 4, 8, 12, 16)),
    "4": (4, True, True, (0, 4, 8, 12, 15)),
    "9-aliased": (9, False, False, (0, 4, 7, 12, 16)),
    "6-aliased": (6, False, False, (0, 4, 7, 12, 15)),
    "4-aliased": (4, False, False, (0, 4, 7, 10, 13)),
    "4-down": (4, True, False, (0, 4, 8, 12, 15)),
    "4-up": (4, False, True, (0, 4, 7, 10, 13)),
}
# inputs, layers, antialias
CRITICS = {"3": (3, 3, True), "6": (6, 3, True), "3-aliased": (3, 3, False), "3-deep": (3, 4, True)}
NGF, NDF, WIDTH, PLACES = 4, 4, 16, 48
TAPS = ["image", "down1", "down2", "block1", "block5"]


# -- what both sides are given ------------------------------------------------------------------------------------------


def filled(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """By formula, but for the blurs."""
    new = fill_by_shape({name: list(value.shape) for name, value in state.items()})
    return {name: state[name] if name.endswith("filt") else new[name].to(state[name].dtype) for name in state}


def photos(n: int = 2, height: int = 32, width: int = 40, skip: int = 0) -> Tensor:
    """[n, 3, height, width] in [-1, 1]."""
    whole = pictures(n + skip, max(height, width))
    return whole[skip:, :, :height, :width].double() / 127.5 - 1


def order(count: int) -> Tensor:
    """A permutation."""
    return latents(1, count).flatten().argsort()


def rows(n: int = 1, seed: int = 0) -> Tensor:
    """[n, PLACES, WIDTH], not of unit length."""
    return latents(n + seed, PLACES * WIDTH)[seed:].reshape(n, PLACES, WIDTH).double()


def unit(x: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / (length + 1e-7)


def summary(x: Tensor) -> list[float]:
    """Norm, mean, a sum with weights that no permutation keeps, and some values."""
    x = x.detach().double().flatten()
    marked = x @ latents(1, len(x)).flatten().double() / math.sqrt(len(x))
    return [float(x.norm()), float(x.mean()), float(marked), *x[:: max(1, len(x) // 4)][:4].tolist()]


def signature(state: dict[str, Tensor]) -> list[int]:
    """Number of tensors, and a sum of their names, shapes and order."""
    text = "\n".join(f"{name} {list(value.shape)}" for name, value in state.items())
    return [len(state), zlib.crc32(text.encode())]


def assert_digits(found: list[float], expected: list[float], tolerance: float) -> None:
    atol = tolerance * max(map(abs, expected))
    both = (torch.tensor(numbers, dtype=torch.float64) for numbers in (found, expected))
    torch.testing.assert_close(*both, rtol=0, atol=atol)


# -- networks -----------------------------------------------------------------------------------------------------------


def translator(case: str) -> CUTTranslator:
    blocks, down, up, _ = GENERATORS[case]
    network = CUTTranslator(ResnetConfig(doubling_widths(NGF), blocks, down, up))
    network.load_state_dict(filled(network.state_dict()))
    return network.double().eval()


@pytest.mark.parametrize("case", GENERATORS)
def test_translator(case: str) -> None:
    network, expected = translator(case), DIGITS["generator"][case]
    named = {index: tap for tap, index in network.tap_index.items()}
    indices = GENERATORS[case][3]
    image = photos().requires_grad_()
    made, features = network(image, [named[i] for i in indices])
    assert_digits(summary(made), expected["made"], EXACT)
    for i in indices:
        assert_digits(summary(features[named[i]]), expected[str(i)], EXACT)
    torch.testing.assert_close(network(image), made)
    (gradient,) = torch.autograd.grad((made * photos(skip=1)).sum(), image)
    assert_digits(summary(gradient), expected["gradient"], EXACT)


@pytest.mark.parametrize("case", GENERATORS)
def test_names_are_the_official_ones(case: str) -> None:
    blocks, down, up, _ = GENERATORS[case]
    state = CUTTranslator(ResnetConfig(doubling_widths(NGF), blocks, down, up)).state_dict()
    assert signature(state) == DIGITS["generator"][case]["names"]


def test_52_names() -> None:
    """Spelt out: those of `Shinkai_net_G.pth`."""
    state = CUTTranslator(ResnetConfig(doubling_widths(NGF))).state_dict()
    layers = [1, 4, 8, *(f"{i}.conv_block.{j}" for i in range(12, 21) for j in (1, 5)), 22, 26, 30]
    wanted = {f"model.{layer}.{part}" for layer in layers for part in ("weight", "bias")}
    assert set(state) == wanted | {f"model.{i}.filt" for i in (7, 11, 21, 25)}
    assert len(state) == 52


def official_state(case: str, dropout: bool) -> dict[str, Tensor]:
    """As the official class saves it; dropout moves the second convolution of a block by one."""
    state = translator(case).float().state_dict()
    if not dropout:
        return state
    return OrderedDict((name.replace("conv_block.5.", "conv_block.6."), value) for name, value in state.items())


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("case", ["9", "9-aliased", "4-down"])
def test_a_saved_generator_is_read(case: str, dropout: bool, tmp_path: Path) -> None:
    state = official_state(case, dropout)
    assert signature(state) == DIGITS["generator"][case]["names_dropout" if dropout else "names"]
    torch.save(state, tmp_path / "latest_net_G.pth")
    network = read_translator(tmp_path / "latest_net_G.pth")
    assert (network.config.blocks, network.config.antialias, network.config.antialias_up) == GENERATORS[case][:3]
    with torch.no_grad():
        made = network.double()(photos())
    assert_digits(summary(made), DIGITS["generator"][case]["made"], EXACT)


@pytest.mark.parametrize("case", CRITICS)
def test_critic(case: str) -> None:
    inputs, layers, antialias = CRITICS[case]
    network = PatchDiscriminator(PatchDiscriminatorConfig(patch_widths(NDF, layers), inputs, antialias))
    expected = DIGITS["critic"][case]
    assert signature(network.state_dict()) == expected["names"]
    network.load_state_dict(filled(network.state_dict()))
    image = torch.cat([photos(2, 72, 88), photos(2, 72, 88, skip=1)], 1)[:, :inputs].requires_grad_()
    scores = network.double()(image)
    assert list(scores.shape) == expected["shape"]
    assert_digits(summary(scores), expected["scores"], EXACT)
    (gradient,) = torch.autograd.grad(scores.square().sum(), image)
    assert_digits(summary(gradient), expected["gradient"], EXACT)
    real, fake = scores.flatten(1).chunk(2)
    assert_digits([generator_least_squares(fake).item()], [expected["player"]], SINGLE)
    assert_digits([discriminator_least_squares(real, fake).item()], [expected["critic"]], SINGLE)


def test_projector() -> None:
    generator, expected = translator("9"), DIGITS["projector"]
    features = generator(photos(), TAPS, encode_only=True)
    network = PatchProjector(generator.tap_widths(TAPS), WIDTH)
    assert signature(network.state_dict()) == expected["names"]
    network.load_state_dict(filled(network.state_dict()))
    places = {tap: order(f[0, 0].numel())[:PLACES] for tap, f in features.items()}
    projected = network.double()(features, places)
    for tap in TAPS:
        assert list(projected[tap].shape) == [2, PLACES, WIDTH]
        assert_digits(summary(projected[tap]), expected[tap], SINGLE)


# -- losses -------------------------------------------------------------------------------------------------------------


def with_gradient(loss: Any, n: int = 1) -> tuple[float, Tensor]:
    """Value, and gradient for the rows before they were given unit length."""
    queries = rows(n).requires_grad_()
    value = loss(unit(queries), unit(0.5 * rows(n) + rows(n, seed=3)))
    (gradient,) = torch.autograd.grad(value, queries)
    return value.item(), gradient


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("temperature", [0.07, 0.2])
def test_patch_nce(n: int, temperature: float) -> None:
    expected = DIGITS["patch_nce"][f"{n}, {temperature}"]
    value, gradient = with_gradient(lambda q, k: patch_nce(q, k, temperature), n)
    assert_digits([value], expected["value"], EXACT)
    assert_digits(summary(gradient), expected["gradient"], EXACT)


def test_src() -> None:
    value, gradient = with_gradient(semantic_relation)
    assert_digits([value], DIGITS["src"]["value"], SINGLE)
    assert_digits(summary(gradient), DIGITS["src"]["gradient"], SINGLE)


@pytest.mark.parametrize("gamma", [50, 10, 1])
def test_hdce(gamma: float) -> None:
    expected = DIGITS["hdce"][str(gamma)]
    keys = unit(0.5 * rows() + rows(seed=3))
    weights = hard_negative_weights(keys, gamma)
    own = torch.eye(PLACES, dtype=torch.bool)[None]
    assert_digits(summary(weights.masked_fill(own, 0)), expected["weights"], SINGLE)
    _, gradient = with_gradient(lambda q, k: hard_negative_contrast(q, k, gamma))
    assert_digits(summary(gradient), expected["gradient"], SINGLE)


def test_what_hdce_shows_in_the_published_logs() -> None:
    """PatchNCE of the weighted similarities, not of plain ones; ours shows the value whose gradient it is."""
    keys = unit(0.5 * rows() + rows(seed=3))
    queries, weights = unit(rows()), hard_negative_weights(keys, 1)
    positive = (queries * keys).sum(2, keepdim=True)
    own = torch.eye(PLACES, dtype=torch.bool)[None]
    logits = torch.cat([positive, (weights * (queries @ keys.transpose(1, 2))).masked_fill(own, -10)], 2) / 0.07
    shown = (logits.logsumexp(2) - logits[..., 0]).mean().item()
    assert_digits([shown], DIGITS["hdce"]["1"]["shown"], SINGLE)
    assert abs(patch_nce(queries, keys).item() - shown) > 1e-3 * shown


# -- the content term ---------------------------------------------------------------------------------------------------


def test_vgg_content() -> None:
    """The layer and the distance are Scenimefy's. What it gives the layer is not: (x + 1) / 2 of the photo without ImageNet's
    normalisation, x + 1/2 of the translation; so here ours is given pictures that it normalises to those."""
    network = VGG19Content().double()
    state = {name: value for name, value in network.state_dict().items() if name.startswith("features.")}
    network.load_state_dict({**network.state_dict(), **filled(state)})

    def undone(x: Tensor) -> Tensor:
        return 2 * (x * network.deviation + network.mean) - 1

    photo, made = photos(1), photos(1, skip=1)
    with torch.no_grad():
        features = network(undone((photo + 1) / 2))
        distance = content_distance(network(undone(made + 1 / 2)), features)
    assert_digits(summary(features), DIGITS["vgg"]["photo"], EXACT)
    assert_digits([distance.item()], DIGITS["vgg"]["distance"], SINGLE)


# -- schedules ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epochs", [20, 10])
def test_weight_of_the_supervised_branch(epochs: int) -> None:
    """As published, 1 in every one of 20 epochs (and ±1 in turn of 10), where the intended cosine falls."""
    found = [factor("scenimefy_code", e / epochs, epochs=epochs) for e in range(epochs)]
    assert_digits(found, DIGITS["schedule"][f"pair, {epochs}"], EXACT)
    if epochs == 20:
        assert found == pytest.approx([1] * 20)
        falling = [factor("cosine_decay", e / 20) for e in (0, 1, 10, 19)]
        assert falling == pytest.approx([1.0, 0.9969, 0.7071, 0.0785], abs=1e-4)


def test_hardness() -> None:
    """The published value of epoch e is that of our line at the end of it."""
    found = [hardness(e / 20) for e in range(1, 21)]
    assert_digits(found, DIGITS["schedule"]["gamma"], SINGLE)


# -- whole steps --------------------------------------------------------------------------------------------------------

OBJECTIVES: dict[str, dict[str, Any]] = {
    "cut": {"unsupervised": {"nce": 1.0, "identity": True}},
    "fastcut": {"unsupervised": {"nce": 10.0, "flip_equivariance": True}},
    "scenimefy": {
        "data": {"pairs": "none"},
        "unsupervised": {"relation": 0.05, "contrast": 0.1, "identity": True},
        # 0.1 is weighted twice there
        "supervised": {"weight": 1.0, "schedule": "scenimefy_code", "nce": 0.1**2},
    },
}
# Ours -> theirs, raw there.
TERMS = {
    "gan": "G_GAN",
    "nce": "NCE",
    "relation": "SRC",
    "pair_gan": "G_GAN_p",
    "pair_nce": "NCE_s",
    "discriminator": "D",
    "pair_critic": "D_p",
    "gradient_generator": "gradient_G",
    "gradient_projector": "gradient_F",
    "gradient_pair_projector": "gradient_F_s",
    "gradient_discriminator": "gradient_D",
    "gradient_pair_critic": "gradient_D_p",
}


class FixedDraws(Draws):
    """The same places on both sides; what can be mirrored is."""

    def shared_order(self, count: int) -> Tensor:
        return order(count)

    def shared_uniform(self) -> float:
        return 0.0


def step(objective: str) -> Terms:
    tree: dict[str, Any] = {
        "name": objective,
        "method": "cut",
        "data": {"path": "none", "style": "none", "resolution": 32},
        "network": {"channels": doubling_widths(NGF), "blocks": 9},
        "critic": {"width": NDF},
        "contrast": {"places": PLACES, "width": WIDTH},
        "training": {"images": 20, "batch": 1},
    }
    for section, changes in OBJECTIVES[objective].items():
        tree[section] = {**tree.get(section, {}), **changes}
    recipe = parse_recipe(tree, "test")
    assert isinstance(recipe, CUTRecipe)
    method = CUTTraining(recipe, cast(Any, None))
    players = method.trainable()
    for network in players.values():
        network.load_state_dict(filled(network.state_dict()))
    # Nothing moves, so that the generator meets the critics that the digits' generator met.
    still: dict[str, torch.optim.Optimizer] = {n: torch.optim.SGD(p.parameters(), lr=0.0) for n, p in players.items()}
    method.prepare(dict(players), still, Engine())
    photo, style = photos(1, 32, 32).float(), photos(1, 32, 32, skip=1).float()
    pairs = (photos(1, 32, 32, skip=2).float(), photos(1, 32, 32, skip=3).float())
    batch = TranslationBatch(photo, style, *(pairs if recipe.data.pairs else ()))
    # Half of 20 epochs are over: γ is 30.
    return method.step([batch], [FixedDraws(0, 10, 1)])


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_whole_step(objective: str) -> None:
    """Raw terms, and the length of each player's gradient.

    hDCE is seen in the gradients alone, with its weight, its γ and its half for the identity: its published value is another.
    """
    found, expected = step(objective), DIGITS["step"][objective]
    names = {name for name in found if name != "contrast" and not name.startswith("score_")}
    assert {TERMS[name] for name in names} == set(expected)
    for name in names:
        assert_digits([found[name].item()], [expected[TERMS[name]]], STEP)
