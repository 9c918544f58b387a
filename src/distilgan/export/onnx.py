"""StyleGAN2 as ONNX: mapping, synthesis and the two joined, one file each, dynamic batch, checked against torch."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from distilgan.errors import RunFailed, UserError
from distilgan.evaluation.cost import count_macs, count_parameters
from distilgan.evaluation.onnx_session import open_session
from distilgan.files import file_sha256, new_folder, write_atomic
from distilgan.networks.pretrained import weights_sha256
from distilgan.networks.stylegan2 import StyleGAN2

OPSET = 18
_FILES = ("model.onnx", "mapping.onnx", "synthesis.onnx", "export.json")
TOLERANCE = 1e-4
"""Largest allowed difference from torch: float32 with another summation order gave up to 2e-5 on pictures in [-1, 1]."""


class _Mapping(nn.Module):
    def __init__(self, network: StyleGAN2) -> None:
        super().__init__()
        self.mapping, self.num_ws = network.mapping, network.config.num_ws

    def forward(self, z: Tensor, truncation: Tensor) -> Tensor:
        w: Tensor = self.mapping(z)
        w = self.mapping.w_avg + truncation * (w - self.mapping.w_avg)
        return w[:, None].expand(-1, self.num_ws, -1)


class _Synthesis(nn.Module):
    def __init__(self, network: StyleGAN2) -> None:
        super().__init__()
        self.synthesis = network.synthesis

    def forward(self, w: Tensor) -> Tensor:
        image: Tensor = self.synthesis(w, "const", "activations")[0]
        return image


def check_packages() -> None:
    """Raise UserError when the packages that an export needs are missing."""
    try:
        import onnx.compose  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(f"export needs the package {error.name}: pip install 'distilgan[export]'") from error


def check_folder(folder: Path) -> None:
    """Raise UserError when writing an export there would destroy anything but an earlier one."""
    if folder.is_file():
        raise UserError(f"{folder}: is a file; an export is a folder")
    others = [p.name for p in folder.iterdir() if p.name not in _FILES] if folder.is_dir() else []
    if others:
        raise UserError(
            f"{folder}: holds other files too ({', '.join(others[:3])}); move them away, or export elsewhere"
        )


def export_onnx(network: StyleGAN2, folder: Path) -> dict[str, Any]:
    """Write model.onnx, mapping.onnx, synthesis.onnx and export.json; returns what export.json holds.

    Raises:
        RunFailed: a file differs from torch by more than `TOLERANCE`; nothing is left behind.
        UserError: the export packages are missing, or `folder` holds anything but an earlier export.
    """
    check_packages()
    import onnx.compose

    network = network.cpu().float().eval()
    c = network.config
    if c.label_dim:
        raise UserError("export of class-conditional StyleGAN2 is not supported yet")
    check_folder(folder)
    z, psi, w = torch.randn(2, c.z_dim), torch.ones(1), torch.randn(2, c.num_ws, c.w_dim)
    mapping, synthesis = _Mapping(network).eval(), _Synthesis(network).eval()
    facts: dict[str, Any] = {
        "opset": OPSET,
        "inputs": {
            "z": {"shape": ["batch", c.z_dim], "range": "N(0, 1)"},
            "truncation": {"shape": [1], "range": "[0, 1]; 1 draws from everything"},
            "w": {"shape": ["batch", c.num_ws, c.w_dim], "range": "output of mapping.onnx"},
        },
        "outputs": {
            "image": {"shape": ["batch", 3, c.resolution, c.resolution], "range": "[-1, 1] and a little beyond; clip"}
        },
        "noise": "stored fields, baked in",
        "parameters": count_parameters(network),
        "macs": count_macs(network, z=z[:1]),
        "student_sha256": weights_sha256(network),
        "torch": torch.__version__,
        "files": {},
    }
    with new_folder(folder) as partial:
        first = _export(mapping, {"z": z, "truncation": psi}, "w")
        second = _export(synthesis, {"w": w}, "image")
        joined = onnx.compose.merge_models(first, second, io_map=[("w", "w")], prefix1="mapping_", prefix2="synthesis_")
        _rename(joined, {"mapping_z": "z", "mapping_truncation": "truncation", "synthesis_image": "image"})
        whole: dict[str, tuple[Any, Callable[..., Tensor]]] = {
            "model.onnx": (joined, lambda z, truncation: synthesis(mapping(z, truncation))),
            "mapping.onnx": (first, mapping),
            "synthesis.onnx": (second, synthesis),
        }
        for name, (model, reference) in whole.items():
            path = partial / name
            _write(model, path, facts)
            difference = compare(path, reference)
            if difference > TOLERANCE:
                raise RunFailed(
                    f"{name}: differs from torch by {difference:.2g} (allowed {TOLERANCE:g}); nothing was exported"
                )
            facts["files"][name] = {
                "bytes": path.stat().st_size,
                "sha256": file_sha256(path),
                "max_difference_from_torch": difference,
            }
        write_atomic(partial / "export.json", json.dumps(facts, indent=1) + "\n")
    return facts


def is_export_of(folder: Path, student_sha256: str) -> bool:
    """Whether `folder` holds a whole export of the network with these weights."""
    try:
        facts = json.loads((folder / "export.json").read_text())
        hashes = {name: file["sha256"] for name, file in facts["files"].items()}
        return facts["student_sha256"] == student_sha256 and all(
            file_sha256(folder / name) == hashes[name] for name in _FILES if name.endswith(".onnx")
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False


def _export(module: nn.Module, inputs: dict[str, Tensor], output: str) -> Any:
    """The module as an ONNX model with a dynamic first dimension, without the source positions that the exporter adds."""
    batch = torch.export.Dim("batch", min=1)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _quiet("torch.onnx", "onnxscript"):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            tuple(inputs.values()),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=[output],
            dynamic_shapes={name: (None if name == "truncation" else {0: batch}) for name in inputs},
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    model.doc_string = ""
    for part in [*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.value_info]:
        part.doc_string = ""
        del part.metadata_props[:]
    del model.graph.metadata_props[:], model.metadata_props[:]
    return model


def _rename(model: Any, names: dict[str, str]) -> None:
    """Give inputs and outputs back the names that merging prefixed."""
    for value in [*model.graph.input, *model.graph.output]:
        value.name = names.get(value.name, value.name)
    for node in model.graph.node:
        node.input[:] = [names.get(x, x) for x in node.input]
        node.output[:] = [names.get(x, x) for x in node.output]


def _write(model: Any, path: Path, facts: dict[str, Any]) -> None:
    import onnx

    for key in ("parameters", "macs"):
        model.metadata_props.add(key=f"distilgan.{key}", value=str(facts[key]))
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


@contextlib.contextmanager
def _quiet(*names: str) -> Any:
    loggers = [logging.getLogger(n) for n in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@torch.no_grad()
def compare(path: Path, module: Callable[..., Tensor], batches: tuple[int, ...] = (1, 3), seed: int = 7) -> float:
    """Largest absolute difference between the file and torch on fresh inputs, over several batch sizes."""
    session = open_session(path)
    generator = torch.Generator().manual_seed(seed)
    worst = 0.0
    for n in batches:
        inputs = {}
        for i in session.get_inputs():
            if i.name == "truncation":
                inputs[i.name] = torch.tensor([0.7])
            else:
                inputs[i.name] = torch.randn(n, *i.shape[1:], generator=generator)
        expected = module(**inputs)
        (found,) = session.run(None, {k: v.numpy() for k, v in inputs.items()})
        worst = max(worst, float(np.abs(found - expected.numpy()).max()))
    return worst
