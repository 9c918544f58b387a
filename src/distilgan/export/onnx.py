"""StyleGAN2 as ONNX: mapping, synthesis and the two joined, one file each, dynamic batch, checked against torch."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from distilgan.errors import RunFailed, UserError
from distilgan.evaluation.cost import count_macs, count_parameters
from distilgan.evaluation.onnx_session import open_session
from distilgan.files import new_folder, write_atomic
from distilgan.networks.stylegan2 import StyleGAN2

OPSET = 18
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


class _Joined(nn.Module):
    def __init__(self, network: StyleGAN2) -> None:
        super().__init__()
        self.first, self.second = _Mapping(network), _Synthesis(network)

    def forward(self, z: Tensor, truncation: Tensor) -> Tensor:
        image: Tensor = self.second(self.first(z, truncation))
        return image


def export_onnx(network: StyleGAN2, folder: Path) -> dict[str, Any]:
    """Write model.onnx, mapping.onnx, synthesis.onnx and export.json; returns what export.json holds.

    Raises:
        RunFailed: a file differs from torch by more than `TOLERANCE`; nothing is left behind.
        UserError: the export packages are missing.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(f"export needs the package {error.name}: pip install 'distilgan[export]'") from error
    network = network.cpu().float().eval()
    c = network.config
    if c.label_dim:
        raise UserError("export of class-conditional StyleGAN2 is not supported yet")
    z, psi, w = torch.randn(2, c.z_dim), torch.ones(1), torch.randn(2, c.num_ws, c.w_dim)
    parts: dict[str, tuple[nn.Module, dict[str, Tensor], str]] = {
        "model.onnx": (_Joined(network), {"z": z, "truncation": psi}, "image"),
        "mapping.onnx": (_Mapping(network), {"z": z, "truncation": psi}, "w"),
        "synthesis.onnx": (_Synthesis(network), {"w": w}, "image"),
    }
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
        "torch": torch.__version__,
        "files": {},
    }
    with new_folder(folder) as partial:
        for name, (module, inputs, output) in parts.items():
            path = partial / name
            _export(module.eval(), inputs, output, path, facts)
            difference = compare(path, module)
            if difference > TOLERANCE:
                raise RunFailed(
                    f"{name}: differs from torch by {difference:.2g} (allowed {TOLERANCE:g}); nothing was exported"
                )
            content = path.read_bytes()
            facts["files"][name] = {
                "bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
                "max_difference_from_torch": difference,
            }
        write_atomic(partial / "export.json", json.dumps(facts, indent=1) + "\n")
    return facts


def _export(module: nn.Module, inputs: dict[str, Tensor], output: str, path: Path, facts: dict[str, Any]) -> None:
    import onnx

    batch = torch.export.Dim("batch", min=1)
    shapes = {k: ({0: batch} if k != "truncation" else None) for k in inputs}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _quiet("torch.onnx", "onnxscript"):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            str(path),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=[output],
            dynamic_shapes=shapes,
            external_data=False,
            verbose=False,
        )
    model = onnx.load(str(path))
    model.doc_string = ""
    for node in model.graph.node:  # the exporter writes source positions of this machine into the file
        node.doc_string = ""
        del node.metadata_props[:]
    for value in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
        value.doc_string = ""
        del value.metadata_props[:]
    del model.graph.metadata_props[:], model.metadata_props[:]
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
def compare(path: Path, module: nn.Module, batches: tuple[int, ...] = (1, 3), seed: int = 7) -> float:
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
