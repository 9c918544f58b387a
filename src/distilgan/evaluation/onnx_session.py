"""Exported generators in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from distilgan.errors import UserError


def open_session(path: Path, threads: int | None = None) -> Any:
    """An ONNX Runtime session on the CPU, with torch's number of threads.

    Raises:
        UserError: not an ONNX file.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError("reading ONNX needs the package onnxruntime: pip install 'distilgan[export]'") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise UserError(f"{path}: not an ONNX file, or a damaged one; export it again") from error


def onnx_facts(path: Path) -> dict[str, Any]:
    """Parameters and MACs that the export wrote into the file, and its size."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    stored = {p.key: p.value for p in model.metadata_props}
    facts: dict[str, Any] = {"file_bytes": path.stat().st_size}
    if "distilgan.macs" in stored:
        facts |= {"parameters": int(stored["distilgan.parameters"]), "macs": int(stored["distilgan.macs"])}
    else:
        facts["parameters"] = sum(int(np.prod(t.dims)) for t in model.graph.initializer)
    return facts
