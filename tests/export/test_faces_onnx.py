"""Networks that look at faces as files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from distilgan.evaluation.faces.frontalizers import open_frontalizer, trained_yaws
from distilgan.export.onnx import TOLERANCE, export_onnx
from distilgan.networks.identity import IdentityConfig, IdentityNetwork
from distilgan.onnx_session import open_session
from tests.conftest import tiny_tpgan

pytest.importorskip("onnxruntime")


def test_a_file_turns_any_number_of_faces_as_the_network_does(tmp_path: Path) -> None:
    """Without noise; landmarks may lie beyond the border, where its last pixels are repeated."""
    network = tiny_tpgan(z_dim=8)
    facts = export_onnx(network, tmp_path / "onnx", about={"yaw": [-30, 60], "seed": 3})
    assert list(facts["inputs"]) == ["image", "landmarks"]
    turn = open_frontalizer(str(tmp_path / "onnx" / "model.onnx"))
    assert trained_yaws(turn) == (-30, 60)
    generator = torch.Generator().manual_seed(1)
    for n in (1, 2, 5):
        given = network.sample_inputs(n, generator)
        given["landmarks"][0] += torch.tensor([-30.0, 40.0])
        with torch.no_grad():
            expected = network(**given).clamp(-1, 1)
        torch.testing.assert_close(
            turn(faces=given["image"], landmarks=given["landmarks"]), expected, atol=TOLERANCE, rtol=0
        )


def test_a_file_tells_people_apart_as_the_network_does(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = IdentityNetwork(IdentityConfig(32, [8, 16], 12)).eval()
    export_onnx(network, tmp_path)
    session = open_session(tmp_path / "model.onnx")
    faces = torch.rand(3, 3, 32, 32) * 2 - 1
    (found,) = session.run(None, {"image": faces.numpy()})
    np.testing.assert_allclose(found, network(faces).detach().numpy(), atol=TOLERANCE)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert json.loads((tmp_path / "export.json").read_text())["outputs"]["direction"]["shape"] == ["batch", 12]
