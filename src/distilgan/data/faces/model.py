"""The head model of this process, and how large its faces are drawn."""

from __future__ import annotations

from distilgan.data.faces.head import HeadModel
from distilgan.errors import UserError

MANIFEST = "faces.json"
SIZES = (32, 256)

_model: HeadModel | None = None


def head_model() -> HeadModel:
    """Loaded once; takes seconds."""
    global _model
    if _model is None:
        _model = HeadModel()
    return _model


def check_size(size: int) -> None:
    if not SIZES[0] <= size <= SIZES[1]:
        raise UserError(f"size={size}: rendered faces are {SIZES[0]} to {SIZES[1]} px wide")
