"""Translators: published sizes, names and places of features, solvers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distilgan.evaluation.cost import count_macs, count_parameters
from distilgan.networks.ode_translator import ODEBlock, ODEConfig, ODETranslator
from distilgan.networks.patch_discriminator import PatchDiscriminator, PatchDiscriminatorConfig, patch_widths
from distilgan.networks.patch_projector import PatchProjector
from distilgan.networks.resnet_translator import (
    BlurDownsample,
    BlurUpsample,
    CUTTranslator,
    ResnetConfig,
    ResnetTranslator,
    doubling_widths,
)
from distilgan.networks.statistics import InstanceNorm, release, taken_statistics
from tests.conftest import lively, tiny_cut

FIVE = ["image", "down1", "down2", "block1", "block5"]


def published(blocks: int = 9, **changes: Any) -> CUTTranslator:
    with torch.device("meta"):
        return CUTTranslator(ResnetConfig(doubling_widths(64), blocks, **changes))


def nijigan(**changes: Any) -> ODETranslator:
    with torch.device("meta"):
        return ODETranslator(ODEConfig(doubling_widths(64), **changes))


def gmacs(network: ResnetTranslator) -> float:
    return count_macs(network, image=torch.empty(1, 3, 256, 256, device="meta")) / 1e9


# -- sizes ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("blocks", "parameters"), [(9, 11_378_179), (6, 7_837_699), (4, 5_477_379)])
def test_published_numbers_of_parameters(blocks: int, parameters: int) -> None:
    assert count_parameters(published(blocks)) == parameters
    assert count_parameters(published(blocks, antialias=False, antialias_up=False)) == parameters
    assert count_parameters(nijigan(blocks=blocks)) == parameters


def test_published_multiply_accumulates() -> None:
    """Of a 256 px picture: CUT's, CycleGAN's, four blocks; an ODE costs 19.33 GMAC for each evaluation of its four blocks."""
    assert gmacs(published()) == pytest.approx(64.05, abs=0.01)
    assert gmacs(published(antialias=False, antialias_up=False)) == pytest.approx(49.55, abs=0.01)
    assert gmacs(nijigan()) == gmacs(published(4)) == pytest.approx(39.89, abs=0.01)
    for solver, steps, evaluations in (("euler", 2, 2), ("midpoint", 1, 2), ("rk4", 1, 4), ("rk4", 2, 8)):
        cost = gmacs(nijigan(solver=solver, steps=steps))
        assert cost == pytest.approx(20.56 + 19.33 * evaluations, rel=2e-4)


@pytest.mark.parametrize("antialias", [True, False])
def test_the_published_critic(antialias: bool) -> None:
    for inputs, parameters in ((3, 2_764_737), (6, 2_767_809)):
        with torch.device("meta"):
            critic = PatchDiscriminator(PatchDiscriminatorConfig(patch_widths(64), inputs, antialias))
            assert count_parameters(critic) == parameters
            assert critic(torch.empty(2, inputs, 256, 256)).shape == (2, 1, 30, 30)


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
@pytest.mark.parametrize("antialias", [True, False])
def test_the_smallest_pictures_that_a_critic_scores(layers: int, antialias: bool) -> None:
    """Three positions after the halvings, of which the last two layers leave one."""
    critic = PatchDiscriminator(PatchDiscriminatorConfig(patch_widths(2, layers), 3, antialias))
    assert critic(torch.zeros(1, 3, 3 * 2**layers, 3 * 2**layers)).shape == (1, 1, 1, 1)
    with pytest.raises((RuntimeError, ValueError)):
        critic(torch.zeros(1, 3, 2 * 2**layers, 2 * 2**layers))


def test_the_published_projector() -> None:
    with torch.device("meta"):
        projector = PatchProjector(published().tap_widths(FIVE))
    assert count_parameters(projector) == 560_384
    assert [n for n, _ in projector.named_parameters()][:4] == [
        f"mlp_0.{i}.{k}" for i in (0, 2) for k in ("weight", "bias")
    ]


def test_official_checkpoints_have_these_names() -> None:
    convolutions = [1, 4, 8, *(f"{b}.conv_block.{i}" for b in range(12, 21) for i in (1, 5)), 22, 26, 30]
    expected = {f"model.{n}.{k}" for n in convolutions for k in ("weight", "bias")}
    expected |= {f"model.{n}.filt" for n in (7, 11, 21, 25)}
    state = published().state_dict()
    assert len(state) == 52
    assert set(state) == expected
    assert (state["model.7.filt"].shape, state["model.21.filt"].shape) == ((128, 1, 3, 3), (256, 1, 4, 4))


# -- features --------------------------------------------------------------------------------------------------------------


def test_shapes_of_features() -> None:
    """The first is of the padded picture, those of `down` are taken before their norm and blur."""
    network, image = published(), torch.empty(1, 3, 256, 256, device="meta")
    features = network(image, FIVE, encode_only=True)
    assert {tap: tuple(f.shape[1:]) for tap, f in features.items()} == {
        "image": (3, 262, 262), "down1": (128, 256, 256), "down2": (256, 128, 128), "block1": (256, 64, 64),
        "block5": (256, 64, 64),
    }  # fmt: skip
    assert network.tap_widths(FIVE) == {tap: f.shape[1] for tap, f in features.items()}
    assert {network.tap_index[tap] for tap in FIVE} == {0, 4, 8, 12, 16}  # the official numbers


@torch.no_grad()
def test_features_are_those_of_the_picture_that_comes_with_them() -> None:
    network, image = tiny_cut(), torch.rand(2, 3, 16, 16) * 2 - 1
    picture, features = network(image, ["block2", "image", "down1"])
    assert torch.equal(picture, network(image))
    assert list(features) == ["block2", "image", "down1"]
    assert torch.equal(features["image"], F.pad(image, (3, 3, 3, 3), mode="reflect"))
    below = network.model[: network.tap_index["down1"] + 1](image)
    assert torch.equal(features["down1"], below)
    alone = network(image, ["block2", "image"], encode_only=True)
    assert all(torch.equal(f, features[tap]) for tap, f in alone.items())


def test_encoding_stops_at_the_last_feature() -> None:
    network, passed = tiny_cut(), []
    for i, layer in enumerate(network.model):
        layer.register_forward_hook(lambda *_, i=i: passed.append(i))
    network(torch.zeros(1, 3, 16, 16), ["block1", "image"], encode_only=True)
    assert passed == list(range(network.tap_index["block1"] + 1))


def test_unknown_features_are_named() -> None:
    network = tiny_cut()
    for call in (network.tap_widths, lambda taps: network(torch.zeros(1, 3, 16, 16), taps)):
        with pytest.raises(ValueError, match="tap 'blok1' is unknown; did you mean block1"):
            call(["image", "blok1"])
        with pytest.raises(ValueError, match="tap 'block4' is unknown"):  # there are three
            call(["block4"])


def test_projections_are_of_unit_length_and_of_their_places() -> None:
    torch.manual_seed(0)
    features = {"a": torch.randn(2, 3, 4, 5), "b": torch.randn(2, 6, 2, 2)}
    projector = lively(PatchProjector({"a": 3, "b": 6}, 7))  # type: ignore[arg-type]
    found = projector(features, {"a": torch.tensor([0, 7, 19]), "b": torch.tensor([3])})
    assert {tap: tuple(f.shape) for tap, f in found.items()} == {"a": (2, 3, 7), "b": (2, 1, 7)}
    row = projector.get_submodule("mlp_0")(features["a"][1, :, 1, 2])  # position 7 of rows of 5
    torch.testing.assert_close(found["a"][1, 1], row / row.norm())
    torch.testing.assert_close(found["b"].norm(dim=2), torch.ones(2, 1))


# -- layers ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 10), (2, 3)])
def test_blurs_are_convolutions_with_their_stored_filters(height: int, width: int) -> None:
    x = torch.randn(2, 3, height, width)
    down, up = BlurDownsample(3), BlurUpsample(3)
    expected = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), down.filt, stride=2, groups=3)
    torch.testing.assert_close(down(x), expected)
    spread = F.conv_transpose2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), up.filt, stride=2, padding=2, groups=3)
    torch.testing.assert_close(up(x), spread[:, :, 1:-1, 1:-1])
    assert (float(down.filt[0].sum()), float(up.filt[0].sum())) == (1, 4)


def test_instance_norm_by_hand_and_with_statistics_of_another_picture() -> None:
    norm, x = InstanceNorm(), torch.randn(3, 2, 4, 4) * 5 + 2
    mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), correction=0, keepdim=True)
    torch.testing.assert_close(norm(x), (x - mean) / (variance + 1e-5).sqrt())
    with taken_statistics(norm):
        torch.testing.assert_close(norm(x[:1]), F.instance_norm(x[:1]))
    for _ in range(2):  # they stay
        torch.testing.assert_close(norm(x[1:2]), (x[1:2] - mean[:1]) / (variance[:1] + 1e-5).sqrt())
    release(norm)
    torch.testing.assert_close(norm(x[1:2]), F.instance_norm(x[1:2]))


@torch.no_grad()
@pytest.mark.parametrize(("solver", "steps"), [("euler", 3), ("rk4", 1)])
def test_each_evaluation_of_a_solver_holds_its_own_statistics(solver: Any, steps: int) -> None:
    """A picture normalised as itself and with what is held of it is the same, time and again."""
    network = lively(ODETranslator(ODEConfig([3, 4], 2, resolution=16, solver=solver, steps=steps)))
    image = torch.rand(1, 3, 16, 16) * 2 - 1
    expected = network(image)
    with taken_statistics(network):
        torch.testing.assert_close(network(image), expected)
    for _ in range(2):
        torch.testing.assert_close(network(image), expected)


REACH: dict[str, Callable[[], ResnetTranslator]] = {
    "cut": lambda: CUTTranslator(ResnetConfig([3, 4, 4], 1)),
    "strided": lambda: CUTTranslator(ResnetConfig([3, 4], 2, antialias=False, antialias_up=False)),
    "transposed": lambda: CUTTranslator(ResnetConfig([3, 4], 1, antialias_up=False)),
    "two Euler steps": lambda: ODETranslator(ODEConfig([3, 4], 1, steps=2)),
    "midpoint, depthwise": lambda: ODETranslator(ODEConfig([3, 4], 1, solver="midpoint", depthwise=True)),
    "folded": lambda: ODETranslator(ODEConfig([3, 4], 1, folded=2, stem=3)),
}


@pytest.mark.parametrize("name", REACH)
@torch.no_grad()
def test_nothing_beyond_its_reach_changes_a_pixel(name: str) -> None:
    network = lively(REACH[name]()).double()
    side, m = 160, network.config.multiple
    first, second = torch.rand(2, 1, 3, side, side, dtype=torch.float64).unbind() if name else (None, None)
    with taken_statistics(network):
        made = network(first)
    assert network.reach < side // 2 - m
    rows = torch.arange(side)
    middle = side // 2
    shortest = 0
    for i in range(m):  # every place in a cell
        at = (middle + i, middle + (3 * i + 1) % m)
        distance = torch.maximum((rows - at[0]).abs()[:, None], (rows - at[1]).abs())
        for beyond in (network.reach, network.reach - 2 * m):
            other = network(torch.where(distance > beyond, second, first))[0, :, at[0], at[1]]
            same = torch.allclose(other, made[0, :, at[0], at[1]], rtol=0, atol=1e-12)
            assert same or beyond < network.reach
            shortest += not same
    assert shortest  # nor is it a much shorter one


def test_adaptive_steps_have_no_reach_but_those_that_stand_for_them_do() -> None:
    network = ODETranslator(ODEConfig([3, 4], 1, solver="dopri5"))
    with pytest.raises(ValueError, match="adaptive steps look as far"):
        _ = network.reach
    fixed = network.with_fixed_steps()
    assert fixed.reach == ODETranslator(ODEConfig([3, 4], 1, solver="rk4", steps=2)).reach
    assert all(a is b for a, b in zip(network.parameters(), fixed.parameters(), strict=True))


# -- neural ODEs -----------------------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("antialias", [True, False])
def test_one_euler_step_is_a_residual_block(antialias: bool) -> None:
    """Bit for bit, with the same weights under the same names."""
    teacher = tiny_cut(4, antialias=antialias, antialias_up=antialias)
    student = ODETranslator(ODEConfig([4, 5, 6], 4, antialias, antialias, 16))
    student.load_state_dict(teacher.state_dict())
    image = torch.rand(2, 3, 16, 16) * 2 - 1
    assert torch.equal(student(image), teacher(image))


def block(function: nn.Module | None = None, **changes: Any) -> ODEBlock:
    """A block of three channels in double precision, of a smooth function that moves its input by much or of the one given."""
    torch.manual_seed(0)
    found = ODEBlock(ODEConfig([2, 3], 1, **{"activation": "softplus", "last_norm": False, **changes})).double()
    if function is not None:
        found.conv_block = nn.Sequential(function).double()
    return found


def linear() -> tuple[nn.Conv2d, Tensor, Tensor]:
    """dh/dt = A h, an h(0), and its h(1)."""
    a = torch.tensor([[-1.0, 2.0, 0.3], [-2.0, -0.5, 0.0], [0.1, 0.4, 0.7]], dtype=torch.float64)
    function = nn.Conv2d(3, 3, 1, bias=False)
    function.weight = nn.Parameter(a[:, :, None, None].clone())
    h = torch.randn(2, 3, 2, 2, dtype=torch.float64)
    return function, h, torch.einsum("ij,njhw->nihw", torch.linalg.matrix_exp(a), h)


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("midpoint", 2), ("rk4", 4)])
def test_orders_of_solvers(solver: str, order: int) -> None:
    """Twice the steps, 2^order times less error."""
    function, h, exact = linear()
    with torch.no_grad():
        errors = [float((block(function, solver=solver, steps=n)(h) - exact).norm()) for n in (64, 128)]
    assert errors[0] / errors[1] == pytest.approx(2**order, rel=0.03)


@torch.no_grad()
@pytest.mark.parametrize(("solver", "steps"), [("euler", 3), ("midpoint", 2), ("rk4", 2)])
def test_fixed_steps_agree_with_torchdiffeq(solver: str, steps: int) -> None:
    from torchdiffeq import odeint

    ours, h = block(solver=solver, steps=steps), torch.randn(2, 3, 6, 6, dtype=torch.float64)
    span = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    theirs = odeint(lambda t, y: ours.conv_block(y), h, span, method=solver)[-1]
    assert float((theirs - h).abs().mean()) > 0.01
    torch.testing.assert_close(ours(h), theirs, rtol=1e-12, atol=1e-12)


@torch.no_grad()
def test_dopri5_is_as_good_as_its_tolerances() -> None:
    function, h, exact = linear()
    errors = [
        float((block(function, solver="dopri5", rtol=r, atol=r)(h) - exact).abs().max()) for r in (1e-2, 1e-4, 1e-7)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-5
    x = torch.randn(1, 3, 6, 6, dtype=torch.float64)
    fine = block(solver="rk4", steps=40)(x)
    torch.testing.assert_close(block(solver="dopri5", rtol=1e-6, atol=1e-6)(x).double(), fine, rtol=1e-4, atol=1e-5)


def test_the_adjoints_gradient_is_the_direct_one() -> None:
    x, target = torch.randn(2, 3, 5, 5, dtype=torch.float64), torch.randn(2, 3, 5, 5)
    gradients = []
    for adjoint in (False, True):
        ours = block(solver="dopri5", rtol=1e-6, atol=1e-6, adjoint=adjoint).float()
        given = x.float().requires_grad_()
        (ours(given) * target).sum().backward()
        gradients.append([given.grad, *(p.grad for p in ours.parameters())])
    for direct, other in zip(*gradients, strict=True):
        assert direct is not None
        torch.testing.assert_close(other, direct, rtol=1e-2, atol=1e-3 * float(direct.abs().max()) + 1e-5)


@pytest.mark.parametrize(
    ("solver", "steps", "adjoint", "expected"),
    [
        ("euler", 3, False, 3),
        ("midpoint", 2, False, 4),
        ("rk4", 2, False, 8),
        ("dopri5", 1, False, 0),
        ("dopri5", 1, True, 0),
    ],
)
def test_evaluations_are_counted(solver: Any, steps: int, adjoint: bool, expected: int) -> None:
    """Those of the forward alone, when the adjoint's backward needs more."""
    network = lively(ODETranslator(ODEConfig([3, 4], 2, resolution=16, solver=solver, steps=steps, adjoint=adjoint)))
    seen = [0, 0]

    def count(i: int) -> None:
        seen[i] += 1

    for i, layer in enumerate(network.blocks):
        layer.get_submodule("conv_block").register_forward_hook(lambda *_, i=i: count(i))
    for _ in range(2):  # each forward by itself
        seen[:] = [0, 0]
        made = network(torch.rand(1, 3, 16, 16, requires_grad=True))
        forward = list(seen)
        made.sum().backward()
        assert network.evaluations == forward
    assert forward == [expected] * 2 or (solver == "dopri5" and all(n >= 8 and n % 6 == 2 for n in forward))
    assert (seen != forward) == adjoint


@torch.no_grad()
def test_the_time_is_a_channel() -> None:
    """dh/dt = t: exact to solvers of order two, left sums to Euler's."""
    function = nn.Conv2d(4, 3, 1, bias=False)
    function.weight = nn.Parameter(torch.tensor([0.0, 0, 0, 1]).repeat(3, 1)[:, :, None, None])
    h = torch.randn(1, 3, 2, 2, dtype=torch.float64)
    for solver, steps, moved in (("midpoint", 1, 0.5), ("rk4", 2, 0.5), ("euler", 4, 6 / 16), ("dopri5", 1, 0.5)):
        found = block(function, solver=solver, steps=steps, time_input=True)(h)
        torch.testing.assert_close(found.double(), h + moved, rtol=1e-6, atol=1e-6)
    with_time, without = (count_parameters(nijigan(time_input=t)) for t in (True, False))
    assert with_time - without == 4 * 2 * 256 * 9


@torch.no_grad()
def test_the_last_norm_sets_the_length_of_the_flow() -> None:
    """With it f has deviation 1 whatever its weights; without it small weights leave a block near the identity."""
    h = torch.randn(1, 3, 8, 8, dtype=torch.float64)
    for last_norm, least, most in ((True, 0.98, 1.0), (False, 0.0, 0.1)):
        ours = block(last_norm=last_norm)
        convolution = ours.conv_block[-2 if last_norm else -1]
        convolution.weight *= 0.1
        convolution.bias.zero_()
        assert least < float((ours(h) - h).std(correction=0)) <= most


@torch.no_grad()
def test_depthwise_blocks() -> None:
    """3x3 of each channel and 1x1: 256 · 9 + 256² weights for 256² · 9, both with biases."""
    thin = count_parameters(nijigan(depthwise=True))
    assert 5_477_379 - thin == 8 * (256 * 256 * 9 + 256 - (256 * 9 + 256 + 256 * 256 + 256))
    ours, h = block(depthwise=True), torch.randn(1, 3, 5, 5, dtype=torch.float64)
    first = ours.conv_block[1]
    weight = first[1].weight * first[0].weight[:, 0][None]  # [O, I, 3, 3]
    bias = first[1].bias + first[1].weight[:, :, 0, 0] @ first[0].bias
    torch.testing.assert_close(first(h), F.conv2d(h, weight, bias))


@torch.no_grad()
def test_folded_pictures() -> None:
    """A position of the first layer holds 2x2 pixels: a quarter of the work at full size for the same picture."""
    network = lively(ODETranslator(ODEConfig([4, 6], 1, resolution=16, folded=2, stem=3)))
    assert network.config.multiple == 4
    image = torch.rand(1, 3, 24, 32) * 2 - 1
    made, features = network(image, ["image", "block1"])
    assert made.shape == image.shape
    assert float(made.std()) > 0.05
    assert torch.equal(features["image"], F.pad(F.pixel_unshuffle(image, 2), (1, 1, 1, 1), mode="reflect"))
    assert network.tap_widths(["image", "block1"]) == {"image": 12, "block1": 6}
    assert features["block1"].shape == (1, 6, 6, 8)


def test_dopri5_under_bf16() -> None:
    """Its error estimates are made in full precision: it takes no more than its usual steps, and learns."""
    network = lively(ODETranslator(ODEConfig([3, 4], 1, resolution=16, solver="dopri5")))
    image = torch.rand(1, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        exact = network(image)
    usual = network.evaluations
    with torch.autocast("cpu", torch.bfloat16):
        features = network(image, ["block1"], encode_only=True)["block1"]
        made = network(image)
    assert features.dtype == torch.float32
    assert network.evaluations[0] <= usual[0] + 6
    torch.testing.assert_close(made.float(), exact, rtol=0, atol=0.05)
    made.float().sum().backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in network.parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": [4]}, "two widths at least"),
        ({"channels": [4, 0]}, "each at least 1"),
        ({"blocks": 0}, "blocks=0: at least 1"),
        ({"resolution": 18}, "resolution=18: must be a multiple of 4, at least 16"),
        ({"resolution": 12}, "at least 16"),
        ({"steps": 0}, "steps=0: at least 1"),
        ({"stem": 4}, "stem=4: at least 1, and odd"),
        ({"folded": 0}, "folded=0"),
        ({"folded": 2, "resolution": 20}, "resolution=20: must be a multiple of 8, at least 32"),
        ({"rtol": 0.0}, "rtol=0, atol=0.01: must be above 0"),
    ],
)
def test_impossible_configs(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ODEConfig(**{"channels": [4, 5, 6], "resolution": 32, **change})
