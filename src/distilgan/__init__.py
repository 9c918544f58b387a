"""distilgan: distil big image generators into small ones, measure what was lost, export the student.

>>> import distilgan
>>> generator = distilgan.load("runs/stylekd-faces/student")  # doctest: +SKIP
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distilgan.networks.generator import ImageGenerator

__version__ = "0.1.0"
__all__ = ["__version__", "from_pretrained", "load"]


def load(path: str | Path) -> ImageGenerator:
    """The generator in a folder (`student/`), a run or `builtin:NAME`: a torch module in eval mode, float32.

    Raises:
        distilgan.errors.UserError: not such a folder, or damaged.
    """
    from distilgan.runs import load_model

    return load_model(path)


from_pretrained = load
