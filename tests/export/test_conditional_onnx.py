"""Class-conditional generators as ONNX files: the same pictures, any batch, the class as a number."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from distilgan.errors import UserError
from distilgan.evaluation.sources import OnnxFile
from distilgan.export.onnx import export_onnx, is_export_of
from distilgan.networks.biggan import BigGANConfig, BigGANDeep
from distilgan.networks.pretrained import network_sha256
from distilgan.networks.tinygan import TinyGAN, TinyGANConfig
from distilgan.onnx_session import open_session
from tests.conftest import conditional


@pytest.mark.parametrize("kind", ["biggan", "biggan-deep", "tinygan", "distylegan", "stylegan2"])
@torch.no_grad()
def test_the_file_draws_what_torch_draws(kind: str, tmp_path: Path) -> None:
    network = conditional(kind)
    facts = export_onnx(network, tmp_path / "out")
    assert facts["inputs"]["label"]["range"] == "0 to 4"
    assert is_export_of(tmp_path / "out", network_sha256(network))
    session = open_session(tmp_path / "out" / "model.onnx")
    # In float64: on AVX2 torch's float32 is up to 2e-5 off itself, ONNX Runtime half of that. StyleGAN2 has no float64.
    network = network if kind == "stylegan2" else network.double()
    for n in (1, 2, 7):
        inputs = network.sample_inputs(n, torch.Generator().manual_seed(n))
        given = {k: v.numpy() for k, v in inputs.items()} | {"truncation": np.float32([0.6])}
        (found,) = session.run(None, given)
        inputs["z"] = inputs["z"].to(next(network.parameters()).dtype)
        np.testing.assert_allclose(found, network(**inputs, truncation=0.6).numpy(), atol=2e-5)
    source = OnnxFile(tmp_path / "out" / "model.onnx", "x")
    assert (source.num_classes, source.latent) == (5, network.latent)


@torch.no_grad()
def test_statistics_of_one_truncation_are_baked_in(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = BigGANDeep(BigGANConfig(8, [8, 8, 8], 2, z_dim=4, embed_dim=4, statistics=51, latent="truncated_normal"))
    for name, value in network.state_dict().items():
        if name.endswith("running_mean"):
            value.add_(torch.linspace(0, 1, 51)[:, None])
    facts = export_onnx(network.eval(), tmp_path / "out", truncation=0.5)
    assert facts["truncation"] == 0.5
    assert "truncation" not in facts["inputs"]
    inputs = network.sample_inputs(3)
    (found,) = open_session(tmp_path / "out" / "model.onnx").run(None, {k: v.numpy() for k, v in inputs.items()})
    np.testing.assert_allclose(found, network(**inputs, truncation=0.5).numpy(), atol=2e-5)
    source = OnnxFile(tmp_path / "out" / "model.onnx", "x")
    assert (source.latent.distribution, source.truncation) == ("truncated_normal", 0.5)
    assert OnnxFile(source.path, "x", truncation=0.5).images(inputs).shape == (3, 3, 8, 8)
    with pytest.raises(UserError, match=r"model\.onnx: draws at truncation 0\.5 alone, not 1; give --truncation 0\.5"):
        OnnxFile(source.path, "x", truncation=1.0)
    with pytest.raises(UserError, match=r"truncation 1\.5: this network has statistics"):
        export_onnx(network, tmp_path / "other", truncation=1.5)
    assert not (tmp_path / "other").exists()


def test_image_latents(tmp_path: Path) -> None:
    network = TinyGAN(TinyGANConfig(8, [8, 8], 2, [3, 8, 8])).eval()
    export_onnx(network, tmp_path / "out")
    assert OnnxFile(tmp_path / "out" / "model.onnx", "x").latent.shape == [3, 8, 8]
    assert json.loads((tmp_path / "out" / "export.json").read_text())["inputs"]["z"]["shape"] == ["batch", 3, 8, 8]
