"""What is set once for the device that a command runs on."""

from __future__ import annotations

import torch

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
