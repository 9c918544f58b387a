"""Generators as ONNX: dynamic batch, no random numbers inside, checked against torch."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distilgan.errors import RunFailed, UserError
from distilgan.evaluation.cost import count_macs, count_parameters
from distilgan.evaluation.onnx_session import PREFIX, open_session
from distilgan.export import single, stylegan2
from distilgan.export.graph import OPSET
from distilgan.files import file_sha256, new_folder, write_atomic
from distilgan.networks.generator import ImageGenerator
from distilgan.networks.pretrained import network_sha256
from distilgan.networks.stylegan2 import StyleGAN2

_FILES = ("model.onnx", "mapping.onnx", "synthesis.onnx", "export.json")
TOLERANCE = 1e-4
"""Largest allowed difference from torch: float32 with another summation order gave up to 2e-5 on pictures in [-1, 1]."""


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


def export_onnx(network: ImageGenerator, folder: Path, truncation: float = 1.0) -> dict[str, Any]:
    """Write model.onnx, of a StyleGAN2 also mapping.onnx and synthesis.onnx, and export.json; returns what that holds.

    Args:
        network: moved to the CPU, to float32 and eval mode.
        truncation: baked into a network whose statistics belong to one; others have it as an input.

    Raises:
        RunFailed: a file differs from torch by more than `TOLERANCE`; nothing is left behind.
        UserError: the export packages are missing, `folder` holds anything but an earlier export, or a truncation that the
            network has no statistics for or takes as an input.
    """
    check_packages()
    network = network.cpu().float().eval()
    check_folder(folder)
    try:
        network.check_truncation(truncation)
    except ValueError as error:
        raise UserError(str(error)) from error
    bakes = single.bakes_truncation(network)
    if truncation != 1 and not bakes:
        raise UserError(f"--truncation {truncation:g}: model.onnx takes it as an input; leave the option out")
    inputs, example = describe_inputs(network), network.sample_inputs(1)
    facts: dict[str, Any] = {
        "opset": OPSET,
        "inputs": inputs,
        "outputs": {
            "image": {
                "shape": ["batch", *network.image_shape],
                "range": "[-1, 1] and a little beyond; clip" if isinstance(network, StyleGAN2) else "[-1, 1]",
            }
        },
        "parameters": count_parameters(network),
        "macs": count_macs(network, **example),
        "student_sha256": network_sha256(network),
        "torch": torch.__version__,
        "files": {},
    }
    stored = {
        "parameters": facts["parameters"],
        "macs": facts["macs"],
        "latent": json.dumps(asdict(network.latent)),
        "num_classes": network.num_classes,
    }
    if bakes:
        facts["truncation"] = stored["truncation"] = truncation
    with new_folder(folder) as partial:
        if isinstance(network, StyleGAN2):  # noqa: SIM108 - mypy narrows nothing in one line this long
            parts = stylegan2.parts(network, facts)
        else:
            parts = single.parts(network, facts, truncation)
        for name, part in parts.items():
            path = partial / name
            _write(part.model, path, stored)
            difference = compare(path, part.reference, network.num_classes)
            if not difference <= TOLERANCE:  # NaN is no agreement
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


def describe_inputs(network: ImageGenerator) -> dict[str, Any]:
    """Shapes and ranges of the inputs that every family has."""
    found: dict[str, Any] = {"z": {"shape": ["batch", *network.latent.shape], "range": network.latent.words}}
    if network.num_classes:
        found["label"] = {"shape": ["batch"], "type": "int64", "range": f"0 to {network.num_classes - 1}"}
    return found


def is_export_of(folder: Path, student_sha256: str) -> bool:
    """Whether `folder` holds a whole export of the network with these weights."""
    try:
        facts = json.loads((folder / "export.json").read_text())
        hashes = {name: file["sha256"] for name, file in facts["files"].items()}
        return (
            facts["student_sha256"] == student_sha256
            and "model.onnx" in hashes
            and all(file_sha256(folder / name) == digest for name, digest in hashes.items())
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False


def _write(model: Any, path: Path, stored: dict[str, Any]) -> None:
    import onnx

    for key, value in stored.items():
        model.metadata_props.add(key=f"{PREFIX}{key}", value=str(value))
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


@torch.no_grad()
def compare(
    path: Path, module: Callable[..., Tensor], num_classes: int = 0, batches: tuple[int, ...] = (1, 3), seed: int = 7
) -> float:
    """Largest absolute difference between the file and torch on fresh inputs, over several batch sizes."""
    session = open_session(path)
    generator = torch.Generator().manual_seed(seed)
    worst = 0.0
    for n in batches:
        inputs = {}
        for i in session.get_inputs():
            if i.name == "truncation":
                inputs[i.name] = torch.tensor([0.7])
            elif i.name == "label":
                inputs[i.name] = torch.randint(num_classes, (n,), generator=generator)
            else:
                inputs[i.name] = torch.randn(n, *i.shape[1:], generator=generator)
        expected = module(**inputs)
        (found,) = session.run(None, {k: v.numpy() for k, v in inputs.items()})
        worst = float(np.maximum(worst, np.abs(found - expected.numpy()).max()))  # of a NaN: NaN
    return worst
