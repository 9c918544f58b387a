"""How close the student's picture is to the teacher's for the same latent: what FID cannot see."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure


@torch.no_grad()
def picture_agreement(pairs: Iterable[tuple[Tensor, Tensor]], perceptual: nn.Module) -> dict[str, float]:
    """Means over pairs of batches (teacher, student) in [-1, 1], [N, 3, R, R].

    Returns:
        psnr: mean over pictures, dB. ssim: in [-1, 1], Gaussian window 11, of the pictures in [0, 1]. perceptual: distance,
            0 for equal.
    """
    totals: dict[str, float] = {"psnr": 0.0, "ssim": 0.0, "perceptual": 0.0}
    count = 0
    for teacher, student in pairs:
        teacher, student = teacher.clamp(-1, 1), student.clamp(-1, 1)
        n = len(teacher)
        # SSIM's luminance term compares means and needs them positive.
        first, second = (teacher + 1) / 2, (student + 1) / 2
        psnr = peak_signal_noise_ratio(second, first, data_range=1.0, dim=(1, 2, 3), reduction="none")
        ssim = structural_similarity_index_measure(second, first, data_range=1.0, reduction="none")
        assert isinstance(ssim, Tensor)
        totals["psnr"] += float(psnr.clamp(max=100).sum())  # equal pictures would be infinite
        totals["ssim"] += float(ssim.sum())
        totals["perceptual"] += float(perceptual(teacher, student).sum())
        count += n
    return {name: value / count for name, value in totals.items()}
