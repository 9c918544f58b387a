"""Exported generators in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from distilgan.errors import UserError

PREFIX = "distilgan."
"""Of the metadata keys that an export writes."""


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


def stored_facts(session: Any) -> dict[str, str]:
    """What the export wrote into the file, by name; empty for files of others."""
    stored = session.get_modelmeta().custom_metadata_map
    return {key.removeprefix(PREFIX): value for key, value in stored.items() if key.startswith(PREFIX)}


def onnx_facts(session: Any, path: Path) -> dict[str, Any]:
    """Parameters and MACs that the export wrote into the file, and its size."""
    stored, facts = stored_facts(session), {"file_bytes": path.stat().st_size}
    if "macs" in stored:
        return facts | {"parameters": int(stored["parameters"]), "macs": int(stored["macs"])}
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    return facts | {"parameters": sum(int(np.prod(t.dims)) for t in model.graph.initializer)}
