"""Networks as ONNX: dynamic batch, no random numbers inside, checked against torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distilgan.errors import RunFailed, UserError
from distilgan.evaluation.cost import count_macs, count_parameters
from distilgan.export import faces, latent, translation
from distilgan.export.graph import OPSET, Layout
from distilgan.files import file_sha256, new_folder, write_atomic
from distilgan.networks.generator import ImageGenerator
from distilgan.networks.identity import IdentityNetwork
from distilgan.networks.pretrained import Pretrained, network_sha256
from distilgan.networks.resnet_translator import ResnetTranslator
from distilgan.networks.tpgan import TPGAN
from distilgan.onnx_session import PREFIX, open_session

_FILES = ("model.onnx", "mapping.onnx", "synthesis.onnx", "export.json")
_CARRIED = ("yaw", "people")
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


def export_onnx(
    network: Pretrained, folder: Path, truncation: float = 1.0, about: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Write model.onnx, of a StyleGAN2 also mapping.onnx and synthesis.onnx, and export.json; returns what that holds.

    Args:
        network: moved to the CPU, to float32 and eval mode.
        truncation: baked into a generator whose statistics belong to one; others have it as an input.
        about: its config.json, of which files carry what their users must know: the angles that it learnt from, and whom.

    Raises:
        RunFailed: a file differs from torch by more than `TOLERANCE`; nothing is left behind.
        UserError: the export packages are missing, `folder` holds anything but an earlier export, a truncation that the
            network does not draw at, or a network of a family that has no files.
    """
    check_packages()
    network = network.cpu().float().eval()
    check_folder(folder)
    layout, example = _layout(network, truncation), network.sample_inputs(1)
    stored = {"parameters": count_parameters(network), "macs": count_macs(network, **example), **layout.stored}
    stored |= {key: json.dumps(value) for key, value in (about or {}).items() if key in _CARRIED}
    facts = layout.facts
    files: dict[str, Any] = {}
    with new_folder(folder) as partial:
        for name, part in layout.parts().items():
            path = partial / name
            _write(part.model, path, stored)
            difference = compare(path, part.reference, int(stored.get("num_classes", 0)), draw=part.draw)
            if not difference <= TOLERANCE:  # NaN is no agreement
                raise RunFailed(
                    f"{name}: differs from torch by {difference:.2g} (allowed {TOLERANCE:g}); nothing was exported"
                )
            digest = file_sha256(path)
            files[name] = {"bytes": path.stat().st_size, "sha256": digest, "max_difference_from_torch": difference}
        facts = {
            "opset": OPSET,
            **facts,
            "parameters": stored["parameters"],
            "macs": stored["macs"],
            "student_sha256": network_sha256(network),
            "torch": torch.__version__,
            "files": files,
        }
        write_atomic(partial / "export.json", json.dumps(facts, indent=1) + "\n")
    return facts


def _layout(network: Pretrained, truncation: float) -> Layout:
    if isinstance(network, ImageGenerator):
        return latent.layout(network, truncation)
    if truncation != 1:
        raise UserError(f"--truncation {truncation:g}: is for generators of pictures from latents; leave it out")
    if isinstance(network, TPGAN | IdentityNetwork):
        return faces.layout(network)
    if isinstance(network, ResnetTranslator):
        try:
            return translation.layout(network)
        except ValueError as error:
            raise UserError(
                f"{network.family}: is not exported: {error}; set solver to euler, midpoint or rk4"
            ) from error
    raise UserError(f"{network.family}: is not exported")


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
    path: Path, module: Callable[..., Tensor], num_classes: int = 0, batches: tuple[int, ...] = (1, 3), seed: int = 7,
    draw: Callable[[int, torch.Generator], dict[str, Tensor]] | None = None,
) -> float:  # fmt: skip
    """Largest absolute difference between the file and torch on fresh inputs, over several batch sizes."""
    session = open_session(path)
    generator = torch.Generator().manual_seed(seed)
    worst = 0.0
    for n in batches:
        inputs = {} if draw is None else draw(n, generator)
        for i in session.get_inputs():
            if i.name in inputs:
                continue
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
