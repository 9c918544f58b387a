from __future__ import annotations

from pathlib import Path

import pytest
import torch

from distilgan.data.feed import Batch
from distilgan.errors import UserError
from distilgan.losses.latent_direction import sefa_directions
from distilgan.methods.base import Engine
from distilgan.methods.draws import Draws
from distilgan.methods.stylekd import StyleKD
from distilgan.networks.stylegan2 import StyleGAN2, StyleGAN2Config
from tests.recipes import stylekd_recipe


def prepared(method: StyleKD) -> StyleKD:
    method.prepare(method.trainable(), dict(method.optimisers()), Engine())
    return method


@pytest.fixture
def equal(image_folder: Path, teacher_folder: Path) -> StyleKD:
    """A student that is its teacher."""
    return prepared(StyleKD(stylekd_recipe(image_folder, teacher_folder, student={"keep": 1.0})))


def test_terms_and_gradients_are_zero_when_student_equals_teacher(equal: StyleKD) -> None:
    draws = Draws(0, 0, 8)
    views = equal._generate(equal.inputs(draws))
    terms = equal.terms(views, draws)
    assert set(terms) == {"pixel", "perceptual", "latent_direction"}
    for name, value in terms.items():
        assert abs(float(value.detach())) < 1e-6, name
    gradients = torch.autograd.grad(terms["latent_direction"], list(equal.generator.parameters()), allow_unused=True)
    assert max(float(g.abs().max()) for g in gradients if g is not None) < 1e-6


def test_the_offset_really_moves_the_second_view(equal: StyleKD) -> None:
    draws = Draws(0, 0, 8)
    given = equal.inputs(draws)
    with torch.no_grad():
        out = equal.generator(**given, full=True)
    assert out.image.shape[0] == 16
    step = out.w[8:] - out.w[:8]
    assert torch.equal(given["offset"][:8], torch.zeros(8, 16))
    torch.testing.assert_close(step, given["offset"][8:, None].expand_as(step), atol=1e-5, rtol=1e-5)
    assert float(step.norm(dim=2).min()) > 0.01
    for feature in out.features.values():
        moved = (feature[8:] - feature[:8]).flatten(1).norm(dim=1) / feature[:8].flatten(1).norm(dim=1)
        assert float(moved.min()) > 1e-3


def test_teacher_and_student_share_latents_mixing_and_noise(equal: StyleKD) -> None:
    views = equal._generate(equal.inputs(Draws(0, 3, 8)))
    assert equal.teacher is not None
    teacher = equal.teacher(**views.inputs, full=True)
    assert torch.equal(teacher.w, views.w)
    assert torch.equal(teacher.image, views.image)


def test_unshared_noise_differs(image_folder: Path, teacher_folder: Path) -> None:
    method = prepared(StyleKD(stylekd_recipe(image_folder, teacher_folder, student={"keep": 1.0}, share_noise=False)))
    draws = Draws(0, 0, 8)
    assert float(method.terms(method._generate(method.inputs(draws)), draws)["pixel"].detach()) > 1e-4


def test_directions_come_from_the_blocks_in_order(equal: StyleKD) -> None:
    """Five from each of the 8 and 16 px blocks, each set the top eigenvectors of that block's style weights."""
    assert equal.directions.shape == (10, 16)
    assert equal.teacher is not None
    for row, resolution in ((0, 8), (5, 16)):
        block = equal.teacher.synthesis.block(resolution)
        expected = sefa_directions([block.conv0.affine.weight, block.conv1.affine.weight], 5)
        torch.testing.assert_close(equal.directions[row : row + 5], expected)


def test_a_thin_student_has_a_gradient_in_every_layer(image_folder: Path, teacher_folder: Path) -> None:
    method = prepared(StyleKD(stylekd_recipe(image_folder, teacher_folder, losses={"gan": 0})))
    draws = Draws(0, 0, 8)
    terms = method.terms(method._generate(method.inputs(draws)), draws)
    sum(terms.values()).backward()  # type: ignore[union-attr]
    without = [n for n, p in method.generator.named_parameters() if p.grad is None or not float(p.grad.abs().sum())]
    assert not without


@pytest.mark.parametrize("score", ["dcp", "cagc", "l1", "random"])
def test_slicing_takes_mapping_and_channels_of_the_teacher(
    image_folder: Path, teacher_folder: Path, score: str
) -> None:
    method = StyleKD(stylekd_recipe(image_folder, teacher_folder, student={"score": score}))
    assert method.teacher is not None
    teacher, student = method.teacher, method.generator
    assert student.config.channels == [6] * 6
    for a, b in zip(teacher.mapping.state_dict().values(), student.mapping.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    rows = {tuple(r.flatten().tolist()) for r in teacher.synthesis.block(4).const}
    assert {tuple(r.flatten().tolist()) for r in student.synthesis.block(4).const} <= rows


def test_mapping_init_copies_the_mapping_only(image_folder: Path, teacher_folder: Path) -> None:
    method = StyleKD(stylekd_recipe(image_folder, teacher_folder, student={"init": "mapping"}, critic="fresh"))
    assert method.teacher is not None
    assert torch.equal(method.teacher.mapping.fc0.weight, method.generator.mapping.fc0.weight)
    assert not torch.equal(method.teacher.synthesis.b4.const[:6], method.generator.synthesis.b4.const)


def test_critic_is_inherited_or_fresh(image_folder: Path, teacher_folder: Path) -> None:
    inherited = StyleKD(stylekd_recipe(image_folder, teacher_folder)).discriminator
    torch.manual_seed(5)
    fresh = StyleKD(stylekd_recipe(image_folder, teacher_folder, critic="fresh")).discriminator
    stored = type(inherited).from_pretrained(teacher_folder)
    assert torch.equal(inherited.b4.fc.weight, stored.b4.fc.weight)
    assert fresh.b4.fc.weight.shape == stored.b4.fc.weight.shape
    assert not torch.equal(fresh.b4.fc.weight, stored.b4.fc.weight)


def test_scratch_needs_no_teacher(image_folder: Path, teacher_folder: Path) -> None:
    losses = {"pixel": 0, "perceptual": 0, "latent_direction": 0}
    recipe = stylekd_recipe(
        image_folder, None, like=str(teacher_folder), student={"init": "random"}, critic="fresh", losses=losses
    )
    method = prepared(StyleKD(recipe))
    assert method.teacher is None
    report = method.step([Batch(torch.randn(8, 3, 16, 16))], [Draws(0, 0, 8)])
    assert {"gan", "discriminator", "r1"} <= set(report)
    assert "pixel" not in report


def test_wrong_sizes_are_refused(image_folder: Path, teacher_folder: Path) -> None:
    with pytest.raises(UserError, match=r"data\.resolution=32: .* set data\.resolution=16"):
        StyleKD(stylekd_recipe(image_folder, teacher_folder, data={"resolution": 32}))
    with pytest.raises(UserError, match=r"student\.channels=\[4, 4\]: needs 6 widths"):
        StyleKD(stylekd_recipe(image_folder, teacher_folder, student={"channels": [4, 4]}))
    with pytest.raises(UserError, match=r"latent_direction\.taps: no layer 'synthesis.b8.conv2'.*synthesis.b8.conv1"):
        StyleKD(stylekd_recipe(image_folder, teacher_folder, latent_direction={"taps": ["synthesis.b8.conv2"]}))


def test_a_teacher_that_the_method_cannot_use_is_refused(image_folder: Path, tmp_path: Path) -> None:
    StyleGAN2(StyleGAN2Config(16, [8] * 6, z_dim=16, w_dim=16, label_dim=3)).save_pretrained(tmp_path / "classes")
    with pytest.raises(UserError, match=r"classes: is class-conditional"):
        StyleKD(stylekd_recipe(image_folder, tmp_path / "classes"))
    StyleGAN2(StyleGAN2Config(8, [8] * 4, z_dim=16, w_dim=16)).save_pretrained(tmp_path / "small")
    with pytest.raises(UserError, match=r"no block of 16 px or more"):
        StyleKD(stylekd_recipe(image_folder, tmp_path / "small", data={"resolution": 8}, critic="fresh"))


def test_dcp_scores_prefer_channels_that_carry_diversity(teacher_folder: Path) -> None:
    """A channel that no consumer uses cannot matter to the picture."""
    from distilgan.methods.channel_scores import channel_scores

    teacher = StyleGAN2.from_pretrained(teacher_folder)
    with torch.no_grad():
        layers = [layer for _, layer in teacher.synthesis.layers()]
        layers[3].weight[:, 4] = 0  # entry 3, channel 4: consumed by nobody
        teacher.synthesis.block(8).torgb.weight[:, 4] = 0
    for kind in ("l1",):
        assert int(channel_scores(teacher, kind, 8, 0)[3].argmin()) == 4
    for kind in ("dcp", "cagc"):
        scores = channel_scores(teacher, kind, 16, 0)
        assert [len(s) for s in scores] == teacher.config.channels
        assert all(bool(torch.isfinite(s).all() and (s >= 0).all()) for s in scores)
        again = channel_scores(teacher, kind, 16, 0)
        assert all(torch.equal(a, b) for a, b in zip(scores, again, strict=True))
    assert not any(p.requires_grad is False for p in teacher.parameters())


def test_terms_can_be_removed_one_by_one(image_folder: Path, teacher_folder: Path) -> None:
    for name in ("gan", "pixel", "perceptual", "latent_direction"):
        method = prepared(StyleKD(stylekd_recipe(image_folder, teacher_folder, losses={name: 0})))
        before = method.discriminator.b4.out.weight.clone()
        report = method.step([Batch(torch.randn(8, 3, 16, 16))], [Draws(0, 0, 8)])
        assert name not in report
        assert torch.equal(before, method.discriminator.b4.out.weight) == (name == "gan")


def test_path_length_with_a_frozen_mapping_network(image_folder: Path, teacher_folder: Path) -> None:
    recipe = stylekd_recipe(
        image_folder, teacher_folder, student={"train_mapping": False}, regularisation={"path_length": 2}
    )
    method = prepared(StyleKD(recipe))
    mapping = method.generator.mapping.fc0.weight.clone()
    method.steps = 4  # the first one has no target for path lengths
    report = method.step([Batch(torch.randn(8, 3, 16, 16))], [Draws(0, 0, 8)])
    assert float(report["path_length"]) > 0
    assert torch.equal(mapping, method.generator.mapping.fc0.weight)


def test_shares_that_split_groups_are_refused(image_folder: Path, teacher_folder: Path) -> None:
    method = StyleKD(stylekd_recipe(image_folder, teacher_folder, latent_direction={"group": 8}))
    method.check_share(8)
    with pytest.raises(UserError, match=r"latent_direction\.group=8: does not divide the 4 samples"):
        method.check_share(4)
