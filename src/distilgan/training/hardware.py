"""Where a training runs: processes, device and number format."""

from __future__ import annotations

import ctypes
import os
import platform
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning_fabric import Fabric

from distilgan.devices import use_device
from distilgan.errors import UserError

# Of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


@dataclass(frozen=True)
class Hardware:
    """The processes that torchrun started (or the one), on one device each; `bf16` turns autocast on."""

    fabric: Fabric
    bf16: bool


def start_hardware(device: str = "cpu", precision: str = "auto") -> Hardware:
    """Join the other processes. `device` is cpu or cuda; `precision` 32, bf16, or auto: bf16 where it is native.

    Raises:
        UserError: cuda without a GPU for each process.
    """
    use_device(device)
    if device == "cpu":
        keep_freed_memory()
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))
    if device == "cuda" and local > torch.cuda.device_count():
        raise UserError(f"--nproc_per_node {local}: this machine has {torch.cuda.device_count()} GPUs")
    fabric = Fabric(
        accelerator=device,
        devices=local,
        num_nodes=max(1, world // local),
        strategy="ddp" if world > 1 else "auto",
    )
    fabric.launch()
    return Hardware(fabric, multiplies_bf16(device) if precision == "auto" else precision == "bf16")


def keep_freed_memory() -> None:
    """Let glibc keep what a step frees: it hands large blocks back, and the next step pays for every page of them again."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_MMAP_THRESHOLD, 2**30)
        libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def multiplies_bf16(device: str) -> bool:
    """Whether the hardware has bf16 matrix products of its own (emulated ones are slower than float32)."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    flags = torch.backends.cpu.get_cpu_capability()
    return (
        "AVX512" in flags and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and _cpu_has("avx512_bf16", "amx_bf16")
    )


def _cpu_has(*features: str) -> bool:
    try:
        line = next(x for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith("flags"))
    except (OSError, StopIteration):
        return False
    return any(f in line.split() for f in features)
