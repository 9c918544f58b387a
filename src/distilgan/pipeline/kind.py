"""What differs between the kinds of networks that runs make."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, TypeVar

import torch

from distilgan.methods.base import Method
from distilgan.recipe import AnyRecipe
from distilgan.runs import Run

R = TypeVar("R", bound=AnyRecipe)
D = TypeVar("D")


class Kind(ABC, Generic[R, D]):
    """A recipe and how its parts are made; `D` is its data once opened."""

    def __init__(self, recipe: R) -> None:
        self.recipe = recipe

    @abstractmethod
    def open_data(self) -> D:
        """The training data.

        Raises:
            UserError: missing, damaged or too little.
        """

    @abstractmethod
    def skipped(self, data: D) -> tuple[int, str]:
        """How many of the data's files cannot be used, and what is wrong with the first."""

    @abstractmethod
    def build(self, data: D, device: str | torch.device = "cpu", *, weights_follow: bool = False) -> Method[Any, Any]:
        """The method, its networks initialised by torch's generator as it stands.

        Args:
            device: where channels are scored. weights_follow: a checkpoint's weights will replace the initial ones.

        Raises:
            UserError: a teacher, store or data that do not fit the recipe.
        """

    @abstractmethod
    def check_ends(self, run: Run, method: Any, data: D) -> None:
        """Find now what would be found after the training: UserError."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What a student's config.json says of its teacher and lessons."""

    def learnt(self, data: D) -> dict[str, Any]:
        """What config.json says of the data."""
        return {}

    # Facts that a finished student must still agree with, and what to say if it does not.
    changes: ClassVar[dict[str, str]] = {"teacher_sha256": "its teacher has other weights or another config"}

    @abstractmethod
    def finish(self, run: Run, data: D, device: str) -> None:
        """Export, measure, report: of a trained run, without doing again what is there."""

    @abstractmethod
    def plan(self, method: Any, data: D) -> dict[str, Any]:
        """Sizes of networks and data."""
