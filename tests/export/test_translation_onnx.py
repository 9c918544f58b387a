"""Translators as files: of any size, the same as torch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from distilgan.errors import UserError
from distilgan.evaluation.translation.translators import OnnxTranslator, TorchTranslator, open_translator
from distilgan.export.onnx import export_onnx
from distilgan.networks.ode_translator import ODEConfig, ODETranslator
from distilgan.networks.resnet_translator import ResnetTranslator
from distilgan.onnx_session import onnx_facts, open_session
from tests.conftest import lively, tiny_cut


def network_of(kind: str) -> ResnetTranslator:
    if kind == "cut":
        return tiny_cut(blocks=2)
    if kind == "midpoint":
        return lively(ODETranslator(ODEConfig([4, 6], 1, solver="midpoint", time_input=True, resolution=16)))
    config = ODEConfig(
        [4, 6], 1, norm="batch", folded=2, stem=3, depthwise=True, antialias=False, antialias_up=False, resolution=16
    )
    return lively(ODETranslator(config))


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cut") / "export"
    export_onnx(network_of("cut"), folder)
    return folder


@torch.no_grad()
def check_sizes(network: ResnetTranslator, path: Path) -> None:
    session, multiple = open_session(path), network.config.multiple
    for n, rows, columns in ((1, 4, 4), (3, 5, 11), (2, 16, 9)):
        image = torch.rand(n, 3, rows * multiple, columns * multiple) * 2 - 1
        (made,) = session.run(None, {"image": image.numpy()})
        np.testing.assert_allclose(made, network(image).numpy(), atol=2e-5)
        assert made.std() > 0.05


def test_any_size_equals_torch(cut: Path) -> None:
    check_sizes(network_of("cut"), cut / "model.onnx")


@pytest.mark.parametrize("kind", ["midpoint", "folded"])
def test_other_layers_and_solvers(kind: str, tmp_path: Path) -> None:
    network = network_of(kind)
    export_onnx(network, tmp_path / "export")
    check_sizes(network, tmp_path / "export" / "model.onnx")


def test_facts_describe_the_file(cut: Path) -> None:
    facts = json.loads((cut / "export.json").read_text())
    assert facts["inputs"]["image"]["shape"] == ["batch", 3, "height", "width"]
    assert facts["inputs"]["image"]["sides"] == "height and width: multiples of 4, from 16 on"
    assert facts["files"]["model.onnx"]["max_difference_from_torch"] < 1e-4
    assert onnx_facts(open_session(cut / "model.onnx"), cut / "model.onnx")["macs"] == facts["macs"]
    translator = OnnxTranslator(cut / "model.onnx", "cut")
    assert (translator.multiple, translator.resolution, translator.fixed) == (4, 16, None)


@pytest.mark.parametrize("size", [(16, 16), (21, 34), (3, 50), (1, 7), (64, 30)])
def test_photos_of_any_size_are_those_of_torch(cut: Path, size: tuple[int, int]) -> None:
    pixels = torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    made = open_translator(str(cut / "model.onnx")).picture(pixels)
    wanted = TorchTranslator(network_of("cut"), "cut").picture(pixels)
    assert made.shape == wanted.shape
    assert (made.int() - wanted.int()).abs().max() <= 1


def test_what_a_file_cannot_take_is_said(cut: Path) -> None:
    translator = OnnxTranslator(cut / "model.onnx", "cut")
    with pytest.raises(UserError, match=r"model\.onnx: does not take float32 pictures \[1, 3, 3, 5\]"):
        translator(torch.zeros(1, 3, 3, 5))
    with pytest.raises(ValueError, match="4 megapixels at most: give the network's folder"):
        translator.picture(torch.zeros(3, 2100, 2100, dtype=torch.uint8))


def test_a_solver_that_adapts_is_refused(tmp_path: Path) -> None:
    network = ODETranslator(ODEConfig([4, 6], 1, solver="dopri5", resolution=16))
    with pytest.raises(UserError, match=r"dopri5 takes as many steps .*; set solver to euler, midpoint or rk4"):
        export_onnx(network, tmp_path / "export")
    with pytest.raises(UserError, match=r"--truncation 0\.5: is for generators of pictures from latents"):
        export_onnx(network_of("cut"), tmp_path / "export", truncation=0.5)
    assert not list(tmp_path.iterdir())
