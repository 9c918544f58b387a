"""What is set once for the device that a command runs on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from distilgan.errors import UserError


def use_device(device: str) -> None:
    """Check that `device` (cpu or cuda) is there, and make float32 mean float32 on it.

    Raises:
        UserError: cuda, and torch sees no GPU.
    """
    if device == "cpu":
        return
    if not torch.cuda.is_available():
        raise UserError("--device cuda: torch sees no GPU here; use --device cpu")
    torch.backends.cudnn.allow_tf32 = False  # its default keeps 10 bits of mantissa in convolutions
    torch.backends.cudnn.benchmark = True


def to_device(value: Any, device: torch.device | str) -> Any:
    """`value` with every tensor in it on `device`, inside dicts, lists and tuples too."""
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, dict):
        return {k: to_device(v, device) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(to_device(v, device) for v in value)
    return value
