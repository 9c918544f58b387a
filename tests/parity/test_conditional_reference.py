"""Our class-conditional networks, and the readers of other layouts, against digits of the published codes (float32, CPU).

The digits were made by running pytorch-pretrained-BigGAN, BigGAN-PyTorch, PyTorch-StudioGAN, TinyGAN and DiStyleGAN at small
widths on tensors filled by the formula of `filled.py`; no code or weight of theirs is here. Tolerance 1e-6 on pictures in
[-1, 1], half of what ε = 1e-5 for 1e-4 changes: the order of float32 sums differs (baked spectral norm, 1x1 convolutions
before enlarging), which moved no value by more than 5e-7 when this was written.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from distilgan.networks.distylegan import DiStyleCritic, DiStyleCriticConfig, DiStyleGAN, DiStyleGANConfig
from distilgan.networks.generator import ImageGenerator
from distilgan.networks.projection_discriminator import ProjectionDiscriminator, ProjectionDiscriminatorConfig
from distilgan.networks.resnet_discriminator import ResNetDiscriminator, ResNetDiscriminatorConfig
from distilgan.networks.tinygan import TinyGAN, TinyGANConfig
from distilgan.teachers.biggan import from_ajbrock, from_huggingface, from_studiogan
from distilgan.teachers.layout import Tensors
from tests.parity.filled import fill_by_shape, latents

DIGITS = json.loads((Path(__file__).parent / "conditional_reference.json").read_text())
CLOSE = {"atol": 1e-6, "rtol": 0.0}
LABEL = torch.tensor([0, 2, 4])


def tensors(case: str) -> Tensors:
    return Tensors(fill_by_shape(DIGITS[case]["shapes"]), Path(case))


def picked(images: Tensor) -> Tensor:
    return images[:, :, ::5, ::7].flatten()


def digits(case: str, name: str = "image") -> Tensor:
    return torch.tensor(DIGITS[case][name])


@pytest.fixture(scope="module")
def huggingface() -> ImageGenerator:
    return from_huggingface(tensors("huggingface"))


@pytest.mark.parametrize("truncation", [0.02, 0.5, 1.0])
@torch.no_grad()
def test_huggingface_on_the_grid_of_truncations(huggingface: ImageGenerator, truncation: float) -> None:
    image = huggingface(latents(3, 8), LABEL, truncation=truncation)
    torch.testing.assert_close(picked(image), digits("huggingface", str(truncation)), **CLOSE)


@torch.no_grad()
def test_huggingface_between_rows_differs_on_purpose(huggingface: ImageGenerator) -> None:
    """There 0.58 uses the row of 0.56 (a rounding error), and between two rows the weights are swapped."""
    network = huggingface
    z = latents(3, 8)
    assert network.statistics_row(0.58).low == network.statistics_row(0.58).high == 29  # type: ignore[operator]
    with_row_28 = network(z * 0.58 / 0.56, LABEL, truncation=0.56)
    torch.testing.assert_close(picked(with_row_28), digits("huggingface", "0.58"), **CLOSE)
    ours = network(z, LABEL, truncation=0.505)
    assert float((picked(ours) - digits("huggingface", "0.505")).abs().max()) > 1e-4
    swapped = network(z * 0.505 / 0.515, LABEL, truncation=0.515)
    torch.testing.assert_close(picked(swapped), digits("huggingface", "0.505"), **CLOSE)


@pytest.mark.parametrize(
    ("case", "family"),
    [
        ("ajbrock", "biggan"),
        ("ajbrock-deep", "biggan-deep"),
        ("ajbrock-unshared", "biggan"),
        ("ajbrock-standing", "biggan"),
    ],
)
@torch.no_grad()
def test_ajbrock(case: str, family: str) -> None:
    state = fill_by_shape(DIGITS[case]["shapes"])
    for name in state:
        if name.endswith("accumulation_counter"):
            state[name] = torch.full_like(state[name], 4.0)  # the stored moments are then sums of four
    network = from_ajbrock(Tensors(state, Path(case)))
    assert network.family == family
    torch.testing.assert_close(picked(network(latents(3, 20), LABEL)), digits(case), **CLOSE)


@torch.no_grad()
def test_studiogan() -> None:
    network = from_studiogan(tensors("studiogan"))
    torch.testing.assert_close(picked(network(latents(3, 20), LABEL)), digits("studiogan"), **CLOSE)


def test_ajbrock_critic() -> None:
    theirs = tensors("ajbrock-critic")
    config = ResNetDiscriminatorConfig(64, [8, 16, 32, 64, 128], 5, halvings=4, attention=[16])
    network = ResNetDiscriminator(config).eval()
    state = {}
    for name in network.state_dict():
        layer, _, part = name.rpartition(".")
        old = (
            re.sub(r"blocks\.(\d+)\.", r"blocks.\1.0.", layer)
            .replace("shortcut", "conv_sc")
            .replace("attention.16", "blocks.1.1")
        )
        if part == "gamma":
            state[name] = theirs.take(f"{old}.gamma").reshape([])
        else:
            state[name] = theirs.stepped(old) if part == "weight" else theirs.take(f"{old}.bias")
    theirs.check_all_read()
    network.load_state_dict(state)
    with torch.no_grad():
        scores = network(latents(3, 3 * 64 * 64).reshape(3, 3, 64, 64), LABEL)
    torch.testing.assert_close(scores.flatten(), digits("ajbrock-critic", "scores"), atol=2e-5, rtol=1e-5)


@torch.no_grad()
def test_tinygan() -> None:
    theirs = tensors("tinygan")
    network = TinyGAN(TinyGANConfig(32, [32, 32, 16, 8], 7, [12], embed_dim=8)).eval()
    names = {"embedding": "embeding", "stem": "fc", "to_rgb": "colorize"}
    state = {}
    for name, value in network.state_dict().items():
        layer, _, part = name.rpartition(".")
        head, _, tail = layer.partition(".")
        if layer.startswith("blocks"):
            _, i, rest = layer.split(".", 2)
            if rest.startswith("norm"):
                k = int(rest[4]) - 1
                kind = rest.split(".")[1]
                if kind == "norm":
                    state[name] = theirs.take(f"blocks.{i}.cbn{k}.bn.{part}")[None]
                else:
                    gain, offset = theirs.take(f"blocks.{i}.cbn{k}.embed.{part}").chunk(2)
                    # There the gain itself is linear in the embedding, here what it exceeds 1 by.
                    state[name] = gain - float(part == "bias") if kind == "gain" else offset
            elif rest == "shortcut":
                state[name] = theirs.take(f"blocks.{i}.c_sc.{part}")
            else:
                kind = {"0": "dw", "1": "pw"}[rest[-1]]
                state[name] = theirs.take(f"blocks.{i}.{kind}_conv{rest[4]}.{part}")
        elif head == "output_norm":
            state[name] = (
                theirs.take(f"bn.{part}")[None]
                if tail
                else theirs.take({"gain": "bn.weight", "offset": "bn.bias"}[part])
            )
        else:
            state[name] = theirs.take(f"{names[head]}.{part}")
        assert state[name].shape == value.shape
    theirs.skip(lambda name: name.endswith("num_batches_tracked"))
    theirs.check_all_read()
    network.load_state_dict(state)
    image = network(latents(3, 12), torch.tensor([0, 3, 6]))
    torch.testing.assert_close(picked(image), digits("tinygan"), **CLOSE)


@torch.no_grad()
def test_tinygan_critic() -> None:
    theirs = tensors("tinygan-critic")
    network = ProjectionDiscriminator(ProjectionDiscriminatorConfig(32, [8, 16, 32], 7)).eval()
    state = {"linear.weight": theirs.normalised("fc_src"), "linear.bias": theirs.take("fc_src.bias")}
    state["embed.weight"] = theirs.normalised("embeding")
    for i in range(3):
        state[f"convolutions.{i}.weight"] = theirs.normalised(f"layers.{2 * i}")
        state[f"convolutions.{i}.bias"] = theirs.take(f"layers.{2 * i}.bias")
    theirs.check_all_read()
    network.load_state_dict(state)
    scores, features = network(latents(3, 3 * 32 * 32).reshape(3, 3, 32, 32), torch.tensor([0, 3, 6]))
    torch.testing.assert_close(scores.flatten(), digits("tinygan-critic", "scores"), atol=1e-5, rtol=0)
    means = torch.stack([f.mean() for f in features])
    torch.testing.assert_close(means, digits("tinygan-critic", "features"), **CLOSE)


@torch.no_grad()
def test_distylegan() -> None:
    theirs = tensors("distylegan")
    network = DiStyleGAN(DiStyleGANConfig(32, [32, 16, 8, 4], 5, z_dim=24, project_dim=16)).eval()
    prefixes = {"project": ("project.0", "project.1"), "stem": ("fc.0", "fc.1")}
    prefixes |= {f"blocks.{i}": (f"upsample{i + 1}.1", f"upsample{i + 1}.2") for i in range(3)}
    state = {"to_rgb.weight": theirs.take("img.0.weight")}
    for ours, (layer, norm) in prefixes.items():
        state[f"{ours}.layer.weight"] = theirs.take(f"{layer}.weight")
        state[f"{ours}.norm.gain"] = theirs.take(f"{norm}.weight")
        state[f"{ours}.norm.offset"] = theirs.take(f"{norm}.bias")
        for moment in ("running_mean", "running_var"):
            state[f"{ours}.norm.norm.{moment}"] = theirs.take(f"{norm}.{moment}")[None]
    theirs.skip(lambda name: name.endswith("num_batches_tracked"))
    theirs.check_all_read()
    network.load_state_dict(state)
    image = network(latents(3, 24), LABEL)
    torch.testing.assert_close(picked(image), digits("distylegan"), **CLOSE)


@torch.no_grad()
def test_distylegan_critic() -> None:
    theirs = tensors("distylegan-critic")
    network = DiStyleCritic(DiStyleCriticConfig(32, [8, 8, 16, 32], 5, project_dim=16)).eval()
    state = {"project.weight": theirs.normalised("project.0"), "output.weight": theirs.take("output.weight")}
    for i in range(4):
        state[f"convolutions.{i}.weight"] = theirs.normalised(f"netD.{i}.0")
        state[f"convolutions.{i}.bias"] = theirs.take(f"netD.{i}.0.bias")
    theirs.check_all_read()
    network.load_state_dict(state)
    scores, features = network(latents(3, 3 * 32 * 32).reshape(3, 3, 32, 32), LABEL)
    torch.testing.assert_close(scores.flatten(), digits("distylegan-critic", "scores"), atol=1e-5, rtol=0)
    means = torch.stack([f.mean() for f in features])
    torch.testing.assert_close(means, digits("distylegan-critic", "features"), **CLOSE)
