"""What the benchmarks share: where results go and what machine made them."""

from __future__ import annotations

import json
import platform
import statistics
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent
RESULTS = HERE / "results"
RUNS = HERE / "runs"


def machine() -> dict[str, Any]:
    """Kind of machine, without its name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    cpu = next((x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), platform.processor())
    return {
        "cpu": cpu,
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def summary(values: list[float]) -> dict[str, Any]:
    """Mean, sample deviation and the values themselves."""
    sd = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "sd": sd, "values": values}


def write(name: str, whole: bool, tree: dict[str, Any]) -> Path:
    """Write a table; one that is not `whole` does not replace the published one."""
    folder = RESULTS if whole else RUNS
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(tree, indent=1) + "\n")
    return path
