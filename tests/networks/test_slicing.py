from __future__ import annotations

import torch

from distilgan.networks.slicing import best_channels, slice_generator, thinned
from tests.conftest import tiny_generator


def test_thinned_is_the_published_rule() -> None:
    assert thinned([512, 256, 128, 64, 32], 0.3) == [154, 77, 39, 20, 10]
    assert thinned([512, 100], 1.0) == [512, 100]


@torch.no_grad()
def test_keeping_everything_changes_nothing() -> None:
    teacher = tiny_generator()
    same = slice_generator(teacher, [torch.arange(c) for c in teacher.config.channels])
    z = torch.randn(3, 12)
    assert torch.equal(teacher(z), same(z))


@torch.no_grad()
def test_dropping_dead_channels_changes_nothing_but_the_torgb_scale() -> None:
    """Channels whose consumers have zero weights can go; only ToRGB's 1/√in must be made up for."""
    teacher = tiny_generator()
    kept = [torch.tensor([i for i in range(c) if i % 3]) for c in teacher.config.channels]
    layers = [layer for _, layer in teacher.synthesis.layers()]
    for i, layer in enumerate(layers):  # layer i consumes entry i
        mask = torch.ones(teacher.config.channels[i])
        mask[::3] = 0
        layer.weight.mul_(mask[None, :, None, None])
    for j, resolution in enumerate(teacher.config.resolutions):
        c = teacher.config.channels[2 * j + 1]
        mask = torch.ones(c)
        mask[::3] = 0
        teacher.synthesis.block(resolution).torgb.weight.mul_(mask[None, :, None, None])
    student = slice_generator(teacher, kept)
    assert student.config.channels == [len(k) for k in kept]
    for j, resolution in enumerate(teacher.config.resolutions):
        wide, thin = teacher.config.channels[2 * j + 1], len(kept[2 * j + 1])
        student.synthesis.block(resolution).torgb.weight.mul_((thin / wide) ** 0.5)
    z = torch.randn(3, 12)
    torch.testing.assert_close(student(z), teacher(z), atol=1e-5, rtol=1e-5)


def test_best_channels() -> None:
    chosen = best_channels([torch.tensor([0.1, 5.0, 3.0, 4.0])], [2])
    assert chosen[0].tolist() == [1, 3]
