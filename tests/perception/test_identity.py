"""Identity networks of other projects: their digits, their faces."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from distilgan.data.alignment import EYES_AT, MOUTH_AT
from distilgan.errors import UserError
from distilgan.networks.identity import IdentityConfig, IdentityNetwork
from distilgan.networks.light_cnn import KINDS, Kind, LightCNN
from distilgan.perception.identity import as_arcface, open_identity
from tests.parity.filled import fill_by_shape, pictures

DIGITS = json.loads((Path(__file__).parents[1] / "parity" / "light_cnn_reference.json").read_text())
# Parameters without the classifier, as counted in the authors' code.
SIZES = {"lightcnn-9": 5_480_864, "lightcnn-29": 12_573_280, "lightcnn-29v2": 10_475_872}


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_light_cnn_gives_the_digits_of_its_authors_code(kind: Kind) -> None:
    """Made by running AlfredXiangWu/LightCNN on tensors by formula. Tolerance: float32 sums, relative to the largest."""
    network = LightCNN(kind).eval()
    assert sum(p.numel() for p in network.parameters()) == SIZES[kind]
    network.load_state_dict(fill_by_shape({k: list(v.shape) for k, v in network.state_dict().items()}))
    found = network(pictures(2, 128)[:, :1].float() / 255).flatten()[::8]
    expected = torch.tensor(DIGITS[kind])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@torch.no_grad()
def test_a_released_file_is_read_and_given_grey_faces(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = LightCNN("lightcnn-9").eval()
    state = {f"module.{k}": v for k, v in network.state_dict().items()} | {"module.fc2.weight": torch.zeros(10, 256)}
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "light.pth.tar")
    features = open_identity(f"lightcnn-9:{tmp_path / 'light.pth.tar'}", Path)
    faces = pictures(2, 128).float() / 127.5 - 1
    grey = ((faces + 1) / 2 * torch.tensor([0.299, 0.587, 0.114]).reshape(1, 3, 1, 1)).sum(1, keepdim=True)
    torch.testing.assert_close(features(faces), nn.functional.normalize(network(grey), dim=1), atol=1e-5, rtol=0)
    assert features(faces[:, :, ::2, ::2]).shape == (2, 256)
    with pytest.raises(UserError, match="holds another network"):
        open_identity(f"lightcnn-29:{tmp_path / 'light.pth.tar'}", Path)
    (tmp_path / "light.pth.tar").write_bytes(b"no weights")
    with pytest.raises(UserError, match="not a file of weights"):
        open_identity(f"lightcnn-9:{tmp_path / 'light.pth.tar'}", Path)


def test_faces_are_moved_to_where_arcface_has_them() -> None:
    size = 128
    faces = torch.zeros(1, 3, size, size)
    faces[:, :, round(EYES_AT * size), size // 2] = 1.0
    faces[:, :, round(MOUTH_AT * size), size // 2] = 1.0
    placed = as_arcface(faces)[0, 0]
    rows = (placed.sum(1) * torch.arange(112)).reshape(2, 56).sum(1) / placed.sum(1).reshape(2, 56).sum(1)
    assert rows[0] == pytest.approx(51.6, abs=0.8)
    assert rows[1] == pytest.approx(92.3, abs=0.8)


def test_an_onnx_file_measures_but_does_not_teach(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [helper.make_node("GlobalAveragePool", ["face"], ["mean"]), helper.make_node("Flatten", ["mean"], ["out"])]

    def write(size: int) -> str:
        face = helper.make_tensor_value_info("face", kind, ["n", 3, size, size])
        out = helper.make_tensor_value_info("out", kind, ["n", 3])
        graph = helper.make_graph(nodes, "g", [face], [out])
        path = tmp_path / f"arc{size}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
        return str(path)

    features = open_identity(write(112), Path)
    assert not features.learnable
    faces = torch.rand(3, 3, 64, 64)
    expected = nn.functional.normalize(as_arcface(faces).mean((2, 3)), dim=1)
    torch.testing.assert_close(features(faces), expected, atol=1e-5, rtol=0)
    with pytest.raises(UserError, match="expected one input"):
        open_identity(write(160), Path)
    with pytest.raises(UserError, match="no such file"):
        open_identity(str(tmp_path / "gone.onnx"), Path)


def test_ours_passes_gradients_and_takes_any_size(tmp_path: Path) -> None:
    torch.manual_seed(0)
    IdentityNetwork(IdentityConfig(32, [4, 8], 6)).save_pretrained(tmp_path)
    features = open_identity(str(tmp_path), Path)
    faces = torch.rand(2, 3, 64, 64, requires_grad=True)
    features(faces).sum().backward()
    assert faces.grad is not None
    assert float(faces.grad.abs().sum()) > 0
