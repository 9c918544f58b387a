"""How close the student's picture is to the teacher's for the same latent: what FID cannot see."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torchmetrics.functional.image import peak_signal_noise_ratio

from distilgan.perception.structural import structural_similarity


@torch.no_grad()
def picture_agreement(pairs: Iterable[tuple[Tensor, Tensor]], perceptual: nn.Module) -> dict[str, Tensor]:
    """Of each picture, from pairs of batches (teacher, student) in [-1, 1], [N, 3, R, R].

    Returns:
        psnr: dB, at most 100. ssim: in [-1, 1], Gaussian window 11 where it fits, of the pictures in [0, 1]. perceptual:
        distance, 0 for equal. Each a value for each picture, in order.
    """
    found: dict[str, list[Tensor]] = {"psnr": [], "ssim": [], "perceptual": []}
    for teacher, student in pairs:
        teacher, student = teacher.clamp(-1, 1), student.clamp(-1, 1)
        # SSIM's luminance term compares means and needs them positive.
        first, second = (teacher + 1) / 2, (student + 1) / 2
        psnr = peak_signal_noise_ratio(second, first, data_range=1.0, dim=(1, 2, 3), reduction="none")
        found["psnr"].append(psnr.clamp(max=100))  # equal pictures would be infinite
        found["ssim"].append(structural_similarity(teacher, student))
        found["perceptual"].append(perceptual(teacher, student))
    return {name: torch.cat(values).double() for name, values in found.items()}
