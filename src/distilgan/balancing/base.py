"""What every balancer is asked.

Losses L_i have base weights b_i, those of the recipe. A balancer turns them into λ_i = a_i b_i; its factors a_i start at 1 (but
FAMO's, which weighs by 1 / L_i from the first step), sum to the number of losses N (but `uncertainty`'s), and are constants to the
student. What a balancer sees of a loss is b_i L_i, so that the losses' units do not matter.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Wants(NamedTuple):
    """What a balancer must be shown of a step besides its losses.

    Args:
        norms: ‖∇ b_i L_i‖ on the layers that all losses reach. alignment: the gradients' agreement with the meta-loss's.
        after: the losses of the same batch after the step.
    """

    norms: bool = False
    alignment: bool = False
    after: bool = False


@dataclass(frozen=True)
class Seen:
    """A step as a balancer sees it; float64 [N] on the CPU, in the order of the base weights, means over all processes.

    Args:
        images: seen before the step. progress: their share of the run, in [0, 1].
        losses: b_i L_i before the step. norms, alignment, after: as in `Wants`; alignment is the derivative h_i of the
            meta-loss for the weight of loss i, scaled to [-1, 1]: negative where the loss's gradient serves the meta-loss.
    """

    images: int
    progress: float
    losses: Tensor
    norms: Tensor | None = None
    alignment: Tensor | None = None
    after: Tensor | None = None


class Balancer(ABC):
    """Weights of losses.

    Args:
        base: name of each loss -> its base weight, above 0.
    """

    def __init__(self, base: Mapping[str, float]) -> None:
        if not base or min(base.values()) <= 0:
            raise ValueError(f"base={dict(base)}: every balanced loss needs a weight above 0")
        self.base = dict(base)
        self.factors = torch.ones(len(base), dtype=torch.float64)
        self.moves = 0  # steps of the student so far

    @property
    def names(self) -> list[str]:
        return list(self.base)

    def weights(self, losses: Tensor) -> dict[str, float]:
        """λ_i for a step whose b_i L_i are `losses`, float64 [N]."""
        return {name: b * float(a) for (name, b), a in zip(self.base.items(), self.factors, strict=True)}

    def wants(self, images: int) -> Wants:
        """What `update` needs of the student's next step, before which `images` were seen."""
        return Wants()

    def update(self, seen: Seen) -> None:
        """Move the factors after a step of the student."""
        self.move(seen)
        self.moves += 1

    @abstractmethod
    def move(self, seen: Seen) -> None:
        """Move the factors."""

    def signals(self) -> dict[str, list[float]]:
        """What moved the factors last, by name, a number for each loss; for the log."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {"factors": self.factors, "moves": self.moves}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.factors, self.moves = state["factors"], int(state["moves"])
