"""What is where in a picture, by any semantic segmenter of the package transformers that lies in a local folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from distilgan.errors import UserError


class Segmenter:
    """A model folder of transformers: SegFormer, DPT, UPerNet, ... or Mask2Former.

    Raises:
        UserError: the package is missing, or the folder holds no such model.
    """

    def __init__(self, folder: Path) -> None:
        try:
            import transformers
        except ImportError as error:
            raise UserError("a segmenter needs the package transformers: pip install transformers") from error
        if not (folder / "config.json").is_file():
            raise UserError(f"{folder}: not a model folder (no config.json in it)")
        try:
            config: Any = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
            masks = config.model_type in ("mask2former", "maskformer")
            kind: Any = (
                transformers.AutoModelForUniversalSegmentation
                if masks
                else transformers.AutoModelForSemanticSegmentation
            )
            self._model = kind.from_pretrained(folder, local_files_only=True).eval().requires_grad_(False)
            self._processor: Any = transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise UserError(
                f"{folder}: no semantic segmenter of transformers ({str(error).splitlines()[0][:160]})"
            ) from error

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 [3, H, W] -> scores [K, H, W]: a model's logits, or of one that has masks Σ_q p(class) p(mask)."""
        given = self._processor(images=pixels.permute(1, 2, 0).numpy(), return_tensors="pt")
        out = self._model(**given)
        if hasattr(out, "masks_queries_logits"):
            scores = torch.einsum(
                "bqk,bqhw->bkhw", out.class_queries_logits.softmax(-1)[..., :-1], out.masks_queries_logits.sigmoid()
            )
        else:
            scores = out.logits
        return F.interpolate(scores, pixels.shape[1:], mode="bilinear", align_corners=False)[0]
