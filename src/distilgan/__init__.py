"""distilgan: distil big image generators into small ones, measure what was lost, export the student.

>>> import distilgan
>>> generator = distilgan.load("runs/stylekd-faces/student")  # doctest: +SKIP
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distilgan.networks.pretrained import Pretrained

__version__ = "0.1.0"
__all__ = ["__version__", "from_pretrained", "load"]


def load(path: str | Path) -> Pretrained:
    """The network in a folder (`student/`), a run or `builtin:NAME`: a torch module in eval mode, float32.

    Raises:
        distilgan.errors.UserError: not such a folder, or damaged.
    """
    from distilgan.networks.pretrained import Pretrained
    from distilgan.runs import load_model

    return load_model(path, Pretrained)


from_pretrained = load
