"""What may stand where pictures are asked for, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from distilgan.errors import UserError
from distilgan.evaluation.sources import OnnxFile, open_source, write_pictures


def _onnx(path: Path, z: list[Any], image: list[Any], name: str = "z", kind: int = TensorProto.FLOAT) -> Path:
    """A file that reshapes its input to its output."""
    sizes = [s if isinstance(s, int) else -1 for s in image]
    node = helper.make_node("Reshape", [name, "sizes"], ["image"])
    constant = helper.make_tensor("sizes", TensorProto.INT64, [len(sizes)], sizes)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info(name, kind, z)],
        [helper.make_tensor_value_info("image", kind, image)],
        [constant],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), str(path))
    return path


@pytest.mark.parametrize(
    "described",
    [
        {"z": ["n", 48], "image": ["n", 48]},
        {"z": ["n", "m"], "image": ["n", 3, 4, 4]},
        {"z": [1, 48], "image": [1, 3, 4, 4]},
        {"z": ["n", 24], "image": ["n", 3, 4, 2]},
        {"z": ["n", 48], "image": ["n", 3, 4, 4], "name": "w"},
        {"z": ["n", 48], "image": ["n", 3, 4, 4], "kind": TensorProto.INT64},
        {"z": [], "image": [1]},
    ],
)
def test_foreign_onnx_files_are_refused(tmp_path: Path, described: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"expected floats z \[batch, n\]"):
        open_source(str(_onnx(tmp_path / "x.onnx", **described)))


def test_any_onnx_file_that_keeps_the_contract_is_a_source(tmp_path: Path) -> None:
    source = open_source(str(_onnx(tmp_path / "x.onnx", ["n", 48], ["n", 3, 4, 4])))
    assert isinstance(source, OnnxFile)
    z = torch.randn(5, 48)
    torch.testing.assert_close(source.images({"z": z}), z.reshape(5, 3, 4, 4))
    with pytest.raises(UserError, match=r"draws at truncation 1 alone, not 0\.5; give --truncation 1"):
        open_source(str(tmp_path / "x.onnx"), truncation=0.5)


@pytest.mark.parametrize("name", ["a.jpg", "taken"])
def test_pictures_go_into_a_png_or_a_folder(tmp_path: Path, teacher_folder: Path, name: str) -> None:
    (tmp_path / "taken").write_text("precious")
    with pytest.raises(UserError, match=r"a \.png \(one grid\) or a folder"):
        write_pictures(str(teacher_folder), tmp_path / name, 2, 0)
    assert (tmp_path / "taken").read_text() == "precious"
