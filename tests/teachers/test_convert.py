"""Checkpoints of other projects: recognised, read strictly, refused in one line. Digits are in tests/parity."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from distilgan.errors import UserError
from distilgan.networks.families import load_network
from distilgan.networks.generator import ImageGenerator
from distilgan.networks.stylegan2 import StyleGAN2
from distilgan.teachers.convert import convert
from tests.conftest import tiny_generator
from tests.parity.filled import fill_by_shape

DIGITS = json.loads((Path(__file__).parents[1] / "parity" / "conditional_reference.json").read_text())


def state(case: str) -> dict[str, torch.Tensor]:
    return fill_by_shape(DIGITS[case]["shapes"])


@pytest.mark.parametrize(
    ("case", "file", "family", "latent"),
    [
        ("huggingface", "pytorch_model.bin", "biggan-deep", "truncated_normal"),
        ("ajbrock", "G_ema.pth", "biggan", "normal"),
        ("ajbrock-deep", "G.pth", "biggan-deep", "normal"),
        ("ajbrock-unshared", "model.safetensors", "biggan", "normal"),
        ("studiogan", "model=G_ema-best-weights-step=9.pth", "biggan", "normal"),
    ],
)
def test_every_layout_is_recognised(case: str, file: str, family: str, latent: str, tmp_path: Path) -> None:
    source = tmp_path / "there"
    source.mkdir()
    if file.endswith("safetensors"):
        save_file(state(case), source / file)
    else:
        wrapped: Any = {"state_dict": state(case), "step": 9} if case == "studiogan" else state(case)
        torch.save(wrapped, source / file)
    given = source if file in ("pytorch_model.bin", "G_ema.pth", "G.pth") else source / file
    made = convert(given, tmp_path / "ours", licence="theirs")
    network = load_network(tmp_path / "ours", ImageGenerator)
    assert (network.family, network.latent.distribution) == (family, latent)
    assert json.loads((tmp_path / "ours" / "config.json").read_text())["licence"] == "theirs"
    inputs = network.sample_inputs(2)
    assert torch.equal(network(**inputs), made(**inputs))


def test_epsilon_comes_from_the_option_the_config_or_the_project(tmp_path: Path) -> None:
    torch.save(state("huggingface"), tmp_path / "pytorch_model.bin")
    assert convert(tmp_path, tmp_path / "a").config.norm_eps == 1e-4
    (tmp_path / "config.json").write_text(json.dumps({"eps": 1e-3}))
    assert convert(tmp_path, tmp_path / "b").config.norm_eps == 1e-3
    assert convert(tmp_path, tmp_path / "c", eps=1e-5).config.norm_eps == 1e-5


@pytest.mark.parametrize("eps", [None, "abc", -1, [1], float("nan"), True])
def test_an_epsilon_that_is_no_number(eps: Any, tmp_path: Path) -> None:
    torch.save(state("huggingface"), tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text(json.dumps({"eps": eps}))
    with pytest.raises(UserError, match=r"config\.json: eps=.*: must be a number, 0 or more"):
        convert(tmp_path, tmp_path / "out")


def test_a_config_beside_another_projects_weights_says_nothing(tmp_path: Path) -> None:
    torch.save(state("ajbrock"), tmp_path / "G.pth")
    (tmp_path / "config.json").write_text(json.dumps({"eps": 0.5}))
    assert convert(tmp_path, tmp_path / "out").config.norm_eps == 1e-5


@torch.no_grad()
def test_ajbrocks_synchronised_normalisation(tmp_path: Path) -> None:
    """It lies one module deeper and counts its batches."""
    plain = state("ajbrock")
    deeper = {re.sub(r"\.stored_(mean|var)$", r".bn.running_\1", name): value for name, value in plain.items()}
    for name in list(deeper):
        if name.endswith("running_mean"):
            deeper[name.replace("running_mean", "num_batches_tracked")] = torch.tensor(7)
    assert len(deeper) > len(plain)
    networks = []
    for name, tensors in (("plain", plain), ("deeper", deeper)):
        torch.save(tensors, tmp_path / f"{name}.pth")
        networks.append(convert(tmp_path / f"{name}.pth", tmp_path / name))
    inputs = networks[0].sample_inputs(2)
    assert torch.equal(networks[0](**inputs), networks[1](**inputs))


@pytest.mark.parametrize(("layers", "fits"), [("released", True), ([[True, 1, 1], [False, 1, 1]], False), ("x", False)])
def test_block_plans_of_huggingface(layers: Any, fits: bool, tmp_path: Path) -> None:
    tensors = state("huggingface")
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    if layers == "released":
        blocks = sorted({n.split(".")[2] for n in tensors if "conv_0" in n}, key=int)
        layers = [[i % 2 == 1, 16, 16] for i in range(len(blocks))]
    (tmp_path / "config.json").write_text(json.dumps({"layers": layers}))
    if fits:
        convert(tmp_path, tmp_path / "out")
    else:
        with pytest.raises(UserError, match=r"config\.json: layers: only BigGAN-deep"):
            convert(tmp_path, tmp_path / "out")


def moved(tensors: dict[str, torch.Tensor], places: dict[int, int]) -> dict[str, torch.Tensor]:
    """Layers of a generator under other numbers."""
    return {
        re.sub(r"layers\.(\d+)\.", lambda m: f"layers.{places.get(int(m[1]), int(m[1]))}.", name): value
        for name, value in tensors.items()
    }


@pytest.mark.parametrize("classes", [0, 3])
def test_stylegan2_state_dicts(classes: int, tmp_path: Path) -> None:
    network = tiny_generator(label_dim=classes)
    torch.save(network.state_dict(), tmp_path / "g.pt")
    found = convert(tmp_path / "g.pt", tmp_path / "out")
    assert isinstance(found, StyleGAN2)
    assert found.config == network.config
    inputs = network.sample_inputs(2)
    assert torch.equal(found(**inputs), network(**inputs))


def without(case: str, name: str) -> dict[str, torch.Tensor]:
    tensors = state(case)
    del tensors[name]
    return tensors


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (lambda: without("ajbrock", "blocks.1.0.conv2.bias"), r"has no blocks\.1\.0\.conv2\.bias; did you mean"),
        (lambda: without("huggingface", "generator.layers.2.bn_1.scale.weight_u"), r"has no .*bn_1\.scale\.weight_u"),
        (
            lambda: {**state("ajbrock"), "extra.weight": torch.ones(2)},
            r"1 tensors have no place .* first is extra\.weight",
        ),
        (lambda: {**state("studiogan"), "blocks.0.0.bn1.embed0.weight": torch.ones(2)}, "no place in the network"),
        (lambda: {**state("ajbrock"), "linear.bias": torch.ones(3)}, "contradict each other"),
        (lambda: {**state("ajbrock"), "shared.weight": torch.ones(3)}, "contradict each other"),
        (lambda: {**state("ajbrock"), "blocks.0.0.conv2.weight": torch.tensor(1.0)}, "contradict each other"),
        (lambda: {**state("huggingface"), "generator.gen_z.bias": torch.ones(7)}, "contradict each other"),
        (lambda: {**state("studiogan"), "linear0.weight_u": torch.ones(99)}, "contradict each other"),
        (lambda: {"synthesis.b4.const": torch.tensor(1.0)}, "contradict each other"),
        (lambda: {**state("ajbrock"), "linear.u0": torch.full((1, 512), math.nan)}, r"numbers give stem\.weight"),
        (
            lambda: {**state("ajbrock"), "output_layer.0.stored_var": -torch.ones(32)},
            r"output_norm\.norm\.running_var that is not",
        ),
        (lambda: moved(state("huggingface"), {3: 4, 4: 3}), r"self-attention is in front of block \[3\]"),
        (lambda: {"a": torch.ones(2)}, "of no known layout"),
        (lambda: {"a": {"b": 3}}, "is not a state dict"),
        (lambda: torch.nn.Linear(2, 2), "holds Python objects and not only tensors"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(tensors: Any, message: str, tmp_path: Path) -> None:
    torch.save(tensors(), tmp_path / "G.pth")
    with pytest.raises(UserError, match=message) as caught:
        convert(tmp_path / "G.pth", tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_files_and_folders_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_text("hello")
    for source, message in (
        (tmp_path / "nowhere.pth", "no such file"),
        (tmp_path / "x.pth", "not a checkpoint, or a damaged one|holds Python objects"),
        (tmp_path, r"no pytorch_model\.bin, G_ema\.pth or G\.pth in it"),
    ):
        with pytest.raises(UserError, match=message):
            convert(source, tmp_path / "out")
    torch.save(state("ajbrock"), tmp_path / "G.pth")
    with pytest.raises(UserError, match="exists already"):
        convert(tmp_path / "G.pth", tmp_path)
    with pytest.raises(UserError, match="--layout ajbrok: unknown; did you mean ajbrock"):
        convert(tmp_path / "G.pth", tmp_path / "out", layout="ajbrok")
