"""Checkpoints of CUT, Scenimefy and CycleGAN: recognised by names and shapes, refused in one line."""

from __future__ import annotations

import re
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from distilgan.errors import UserError
from distilgan.evaluation.translation.translators import open_translator
from distilgan.networks.families import load_network
from distilgan.networks.resnet_translator import CUTTranslator, ResnetConfig, ResnetTranslator
from distilgan.teachers.convert import convert
from distilgan.teachers.cut import is_checkpoint, read_translator
from tests.conftest import lively

State = dict[str, torch.Tensor]


def saved(path: Path, state: State) -> Path:
    torch.save(state, path)
    return path


@pytest.fixture
def network() -> ResnetTranslator:
    return lively(CUTTranslator(ResnetConfig([4, 6, 8], 2)))


@torch.no_grad()
def same(first: ResnetTranslator, second: ResnetTranslator) -> bool:
    image = torch.rand(1, 3, 20, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return torch.equal(first(image), second(image))


def official_names() -> dict[str, tuple[int, ...]]:
    """Of Shinkai_net_G.pth: 48 parameters and 4 filters."""
    shapes: dict[str, tuple[int, ...]] = {
        "1": (64, 3, 7, 7), "4": (128, 64, 3, 3), "8": (256, 128, 3, 3), "22": (128, 256, 3, 3), "26": (64, 128, 3, 3),
        "30": (3, 64, 7, 7), **{f"{i}.conv_block.{j}": (256, 256, 3, 3) for i in range(12, 21) for j in (1, 5)},
    }  # fmt: skip
    found = {f"model.{name}.weight": shape for name, shape in shapes.items()}
    found |= {f"model.{name}.bias": shape[:1] for name, shape in shapes.items()}
    filters = {7: (128, 1, 3, 3), 11: (256, 1, 3, 3), 21: (256, 1, 4, 4), 25: (128, 1, 4, 4)}
    return found | {f"model.{i}.filt": shape for i, shape in filters.items()}


def test_scenimefys_file_is_recognised(tmp_path: Path) -> None:
    """Names, shapes and filters as its code saves them."""
    state: State = {name: torch.zeros(shape) for name, shape in official_names().items()}
    assert len(state) == 52
    for name, shape in official_names().items():
        if name.endswith("filt"):
            taps = torch.tensor([1.0, 2, 1] if shape[-1] == 3 else [1.0, 3, 3, 1])
            filt = torch.outer(taps, taps)
            state[name] = (filt / filt.sum() * (1 if shape[-1] == 3 else 4)).expand(shape)
    found = read_translator(saved(tmp_path / "Shinkai_net_G.pth", state))
    assert found.config == ResnetConfig([64, 128, 256], 9)
    assert sum(p.numel() for p in found.parameters()) == 11_378_179


@pytest.mark.parametrize(
    "config",
    [
        ResnetConfig([4, 6, 8], 3),
        ResnetConfig([4, 6, 8], 1, antialias=False, antialias_up=False),
        ResnetConfig([4, 6, 8], 2, antialias_up=False),
        ResnetConfig([4, 6], 2),
    ],
)
def test_the_architecture_is_read_from_names_and_shapes(config: ResnetConfig, tmp_path: Path) -> None:
    network = lively(CUTTranslator(config))
    found = read_translator(saved(tmp_path / "g.pth", network.state_dict()))
    assert found.config == config
    assert same(found, network)


def test_wrapped_and_parallel_checkpoints(network: ResnetTranslator, tmp_path: Path) -> None:
    state = OrderedDict((f"module.{name}", value) for name, value in network.state_dict().items())
    state._metadata = {"": {"version": 1}}  # type: ignore[attr-defined]
    for i, tree in enumerate((state, {"state_dict": state, "epoch": 5})):
        assert same(read_translator(saved(tmp_path / f"{i}.pt", tree)), network)  # type: ignore[arg-type]
    found = convert(tmp_path / "0.pt", tmp_path / "ours", licence="theirs")
    assert isinstance(found, CUTTranslator)
    assert same(load_network(tmp_path / "ours", ResnetTranslator), network)
    assert is_checkpoint(tmp_path / "0.pt")
    assert not is_checkpoint(tmp_path / "ours")


def test_blocks_with_dropout_count_one_more_layer(network: ResnetTranslator, tmp_path: Path) -> None:
    state = {re.sub(r"conv_block\.5", "conv_block.6", name): v for name, v in network.state_dict().items()}
    assert set(state) != set(network.state_dict())
    assert same(read_translator(saved(tmp_path / "g.pth", state)), network)


def test_files_that_are_none(network: ResnetTranslator, tmp_path: Path) -> None:
    whole = network.state_dict()
    first = {k: v for k, v in whole.items() if k != "model.1.bias"}
    blockless = {k: v for k, v in whole.items() if "conv_block" not in k}
    wide = {k: torch.cat([v, v]) if k == "model.12.conv_block.1.weight" else v for k, v in whole.items()}
    blurred = {k: v * 2 if k == "model.7.filt" else v for k, v in whole.items()}
    batch = {**whole, "model.13.conv_block.2.weight": torch.ones(8)}
    for name, state, message in (
        ("first", first, r"first\.pth: has no model\.1\.bias.*; give a generator's whole file"),
        ("blockless", blockless, r"has no model\.12\.conv_block\.1\.weight"),
        ("wide", wide, r"wide\.pth: the checkpoint's tensors contradict each other \("),
        ("blurred", blurred, r"contradict each other \(model\.7\.filt is another filter than the official one\)"),
        ("batch", batch, r"1 tensors have no place in the network that the others describe, .*model\.13"),
        ("critic", {"model.0.weight": torch.zeros(4, 3, 4, 4)}, "has no model"),
        ("empty", {}, "is not a state dict"),
    ):
        path = saved(tmp_path / f"{name}.pth", state)
        with pytest.raises(UserError, match=message) as error:
            open_translator(str(path))
        assert "\n" not in str(error.value)
        with pytest.raises(UserError):
            convert(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
