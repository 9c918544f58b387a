"""What a student begins with."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from distilgan.methods.inheritance import inherit, nearest_blocks, separable
from distilgan.networks.ode_translator import ODEConfig, ODETranslator
from tests.conftest import lively, tiny_cut


def student(**changes: Any) -> ODETranslator:
    settings = {"channels": [4, 5, 6], "blocks": 3, "resolution": 16, **changes}
    network = ODETranslator(ODEConfig(**settings))
    lively(network, seed=9)
    return network


IMAGE = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize(
    ("mine", "theirs", "places"),
    [
        (4, 9, [1, 4, 6, 9]), (9, 9, [*range(1, 10)]), (1, 9, [5]), (1, 4, [2]), (2, 9, [1, 9]), (3, 9, [1, 5, 9]),
        (5, 3, [1, 1, 2, 3, 3]),
    ],
)  # fmt: skip
def test_blocks_are_spread_evenly(mine: int, theirs: int, places: list[int]) -> None:
    assert nearest_blocks(mine, theirs) == {f"block{i + 1}": f"block{p}" for i, p in enumerate(places)}


@torch.no_grad()
@pytest.mark.parametrize("antialias", [True, False])
def test_an_euler_student_of_as_many_blocks_is_its_teacher(antialias: bool) -> None:
    kinds = {"antialias": antialias, "antialias_up": antialias}
    teacher, mine = tiny_cut(9, **kinds), student(blocks=9, **kinds)
    assert not torch.equal(mine(IMAGE), teacher(IMAGE))
    copied = inherit(mine, teacher)
    assert torch.equal(mine(IMAGE), teacher(IMAGE))
    ends = [f"encoder{i}" for i in range(3)] + [f"decoder{i}" for i in range(3)]
    assert set(copied) == {*ends, *(f"block{b}.{i}" for b in range(1, 10) for i in (1, 5))}


@torch.no_grad()
def test_a_shorter_student_has_its_teachers_ends_and_some_blocks() -> None:
    teacher, mine = tiny_cut(3), student(blocks=2)
    inherit(mine, teacher)
    for own, theirs in (("block1", "block1"), ("block2", "block3")):
        a, b = mine.model[mine.tap_index[own]], teacher.model[teacher.tap_index[theirs]]
        assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    taps = ["image", "down1", "down2", "block1"]
    features = [network(IMAGE, taps, encode_only=True) for network in (mine, teacher)]
    assert all(torch.equal(features[0][tap], features[1][tap]) for tap in taps)
    assert torch.equal(mine.model[-2].weight, teacher.model[-2].weight)


@torch.no_grad()
def test_time_changes_nothing_at_first() -> None:
    teacher, mine = tiny_cut(3), student(time_input=True)
    inherit(mine, teacher)
    torch.testing.assert_close(mine(IMAGE), teacher(IMAGE))


def test_the_separable_convolution_is_the_nearest() -> None:
    """Each input channel's [O, 9] matrix at rank one: the squares left are its other singular values'; nothing near is better."""
    torch.manual_seed(0)
    weight = torch.randn(6, 4, 3, 3, dtype=torch.float64)
    spatial, mixing = separable(weight)
    assert (spatial.shape, mixing.shape) == ((4, 3, 3), (6, 4))
    left = weight - mixing[:, :, None, None] * spatial
    for i in range(4):
        values = torch.linalg.svdvals(weight[:, i].reshape(6, 9))
        assert float(left[:, i].square().sum()) == pytest.approx(float(values[1:].square().sum()))
    found = [spatial.clone().requires_grad_(), mixing.clone().requires_grad_()]
    distance = (weight - found[1][:, :, None, None] * found[0]).square().sum()
    for gradient in torch.autograd.grad(distance, found):
        assert float(gradient.abs().max()) < 1e-10
    again = separable(mixing[:, :, None, None] * spatial)  # what is separable stays
    torch.testing.assert_close(again[1][:, :, None, None] * again[0], mixing[:, :, None, None] * spatial)


@torch.no_grad()
@pytest.mark.parametrize("time_input", [False, True])
def test_a_depthwise_student_takes_the_nearest(time_input: bool) -> None:
    teacher, mine = tiny_cut(3), student(depthwise=True, time_input=time_input)
    for block in teacher.blocks:  # whose convolutions are separable as they are
        for i in (1, 5):
            weight = block.get_submodule(f"conv_block.{i}").weight
            spatial, mixing = separable(weight)
            weight.copy_(mixing[:, :, None, None] * spatial)
    assert "block3.5" in inherit(mine, teacher)
    torch.testing.assert_close(mine(IMAGE), teacher(IMAGE), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_a_thinner_student_begins_anew() -> None:
    mine = student(channels=[4, 5, 7])
    before = {k: v.clone() for k, v in mine.state_dict().items()}
    assert set(inherit(mine, tiny_cut(3))) == {"encoder0", "encoder1", "decoder1", "decoder2"}
    changed = {k for k, v in mine.state_dict().items() if not torch.equal(v, before[k])}
    assert not any(".conv_block." in k for k in changed)


@torch.no_grad()
@pytest.mark.parametrize(
    ("theirs", "mine"),
    [
        ({"depthwise": True}, {"depthwise": True}), ({}, {"depthwise": True}), ({"time_input": True}, {}),
        ({"time_input": True}, {"depthwise": True}),
    ],
)  # fmt: skip
def test_students_can_be_teachers(theirs: dict[str, Any], mine: dict[str, Any]) -> None:
    teacher, pupil = student(**theirs), student(**mine)
    for p in pupil.parameters():
        p.mul_(0.5)
    assert "block2.1" in inherit(pupil, teacher)
    made = [network(IMAGE) for network in (pupil, teacher)]
    if theirs == mine:
        assert torch.equal(*made)
    assert "block2.1" not in inherit(student(), student(depthwise=True))  # what is separable is not put together again


@torch.no_grad()
def test_other_first_layers_begin_anew() -> None:
    """Folded pictures and smaller stems."""
    copied = inherit(student(folded=2, stem=3, resolution=32), tiny_cut(3))
    assert "encoder0" not in copied
    assert "decoder2" not in copied
    assert {"encoder1", "encoder2", "block1.1"} <= set(copied)


def test_a_filter_of_one_direction_is_kept_exactly() -> None:
    weight = torch.zeros(2, 1, 3, 3)
    weight[0, 0], weight[1, 0] = (
        torch.tensor([1.0, 2.0, 1.0]).outer(torch.ones(3)),
        -torch.tensor([1.0, 2.0, 1.0]).outer(torch.ones(3)),
    )
    spatial, mixing = separable(weight)
    x = torch.randn(1, 1, 5, 5)

    def both(x: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(x, spatial[:, None]), mixing[:, :, None, None])

    torch.testing.assert_close(both(x), F.conv2d(x, weight), rtol=1e-4, atol=1e-5)
