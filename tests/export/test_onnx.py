from __future__ import annotations

import hashlib
import json
import math
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from distilgan.errors import RunFailed, UserError
from distilgan.export import onnx as exporting
from distilgan.export.onnx import export_onnx, is_export_of
from distilgan.networks.pretrained import network_sha256
from distilgan.onnx_session import onnx_facts, open_session
from tests.conftest import tiny_generator


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "out"
    export_onnx(tiny_generator(), folder)
    return folder


@torch.no_grad()
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_three_files_agree_with_torch(exported: Path, batch: int) -> None:
    network = tiny_generator()
    network.mapping.w_avg.zero_()
    z, psi = torch.randn(batch, 12), np.float32([0.6])
    expected = network(z, truncation=0.6).numpy()
    (joined,) = open_session(exported / "model.onnx").run(None, {"z": z.numpy(), "truncation": psi})
    (w,) = open_session(exported / "mapping.onnx").run(None, {"z": z.numpy(), "truncation": psi})
    (image,) = open_session(exported / "synthesis.onnx").run(None, {"w": w})
    np.testing.assert_allclose(joined, expected, atol=1e-5)
    np.testing.assert_allclose(image, expected, atol=1e-5)


def test_facts_describe_the_files(exported: Path) -> None:
    facts = json.loads((exported / "export.json").read_text())
    assert facts["opset"] == 18
    for name, file in facts["files"].items():
        content = (exported / name).read_bytes()
        assert file["bytes"] == len(content)
        assert file["sha256"] == hashlib.sha256(content).hexdigest()
        assert 0 <= file["max_difference_from_torch"] < 1e-5
        assert str(Path.cwd()).encode() not in content
    assert sorted(p.name for p in exported.iterdir()) == ["export.json", "mapping.onnx", "model.onnx", "synthesis.onnx"]
    assert onnx_facts(open_session(exported / "model.onnx"), exported / "model.onnx")["macs"] == facts["macs"]
    model = onnx.load(str(exported / "model.onnx"))
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("export.json", ""),
        ("export.json", "null"),
        ("export.json", '{"files": {}}'),
        ("export.json", None),
        ("model.onnx", "cut"),
        ("synthesis.onnx", None),
    ],
)
def test_a_damaged_export_is_none(exported: Path, tmp_path: Path, name: str, content: str | None) -> None:
    weights = network_sha256(tiny_generator())
    folder = tmp_path / "export"
    shutil.copytree(exported, folder)
    assert is_export_of(folder, weights)
    assert not is_export_of(folder, network_sha256(tiny_generator(seed=9)))
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_text(content)
    assert not is_export_of(folder, weights)


def test_a_file_that_differs_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "compare", lambda *_, **__: 0.5)
    with pytest.raises(RunFailed, match=r"differs from torch by 0\.5"):
        export_onnx(tiny_generator(), tmp_path / "out")
    assert not list(tmp_path.iterdir())


@torch.no_grad()
def test_nan_is_no_agreement(exported: Path, tmp_path: Path) -> None:
    def broken(z: torch.Tensor, **_: torch.Tensor) -> torch.Tensor:
        return torch.full((len(z), 3, 16, 16), math.nan)

    assert math.isnan(exporting.compare(exported / "model.onnx", broken))
    network = tiny_generator()
    network.synthesis.b16.torgb.bias.fill_(math.nan)
    with pytest.raises(RunFailed, match="differs from torch by nan"):
        export_onnx(network, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_an_export_takes_the_place_of_nothing_but_an_export(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match=r"holds other files too \(thesis\.txt\)"):
        export_onnx(tiny_generator(), tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "precious"
    before = (exported / "model.onnx").read_bytes()
    export_onnx(tiny_generator(), exported)
    assert (exported / "model.onnx").read_bytes() == before


def test_a_truncation_that_would_be_dropped(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--truncation 0\.7: model\.onnx takes it as an input"):
        export_onnx(tiny_generator(), tmp_path / "out", truncation=0.7)
    assert not (tmp_path / "out").exists()
