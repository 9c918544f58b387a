"""What the training loop asks of every method, and what every method has from the loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from distilgan.data.feed import Batch
from distilgan.data.pairs import PairStore
from distilgan.methods.draws import Draws
from distilgan.networks.generator import ImageGenerator
from distilgan.networks.pretrained import Pretrained
from distilgan.recipe import Optimiser, Training

Terms = dict[str, Tensor]


@dataclass
class Engine:
    """How the loop runs tensors: supplied by the loop, so that methods know nothing of devices and processes."""

    backward: Callable[[Tensor], None]
    autocast: Callable[[], AbstractContextManager[Any]]
    no_sync: Callable[[nn.Module], AbstractContextManager[Any]]
    mean_over_processes: Callable[[Tensor], Tensor]


class Method(ABC):
    """Owns a generator, its discriminator and their optimisers.

    Attributes:
        generator, discriminator: the plain networks.
        weights: of the generator's terms, by name, as they are now.
        played: the networks wrapped by the loop for training (precision, processes); set by `prepare`.
        steps: updates done.
        labelled: whether the real images must have classes.
        store: pairs of a teacher on disk that batches bring along.
    """

    labelled = False
    store: PairStore | None = None

    generator: ImageGenerator
    discriminator: Pretrained
    weights: dict[str, float]

    def __init__(self, optimiser: Optimiser, training: Training) -> None:
        self.training, self._optimiser = training, optimiser
        self.steps = 0

    # -- what a method says ------------------------------------------------------------------------------------------

    @abstractmethod
    def step(self, batches: list[Batch], draws: list[Draws]) -> Terms:
        """One update of both players from micro-batches; returns detached raw terms by name."""

    def references(self, inputs: dict[str, Any]) -> Tensor | None:
        """The teacher's pictures for the sample grid's inputs, if there is a teacher."""
        return None

    def grid_inputs(self, n: int, generator: torch.Generator) -> dict[str, Any]:
        """Arguments of the generator for the sample grid; the classes in turn."""
        inputs = self.generator.sample_inputs(n, generator)
        if "label" in inputs:
            inputs["label"] = torch.arange(n) % self.generator.num_classes
        return inputs

    def check_share(self, samples: int) -> None:  # noqa: B027 - most methods take any
        """Raise UserError when a step cannot be made of shares of `samples` samples."""

    def frozen(self) -> list[nn.Module]:
        """Networks that do not train but must move to the device."""
        return []

    def finished(self, average: ImageGenerator) -> tuple[ImageGenerator, Pretrained | None]:
        """The averaged generator and the discriminator, if one was trained, as they are to be stored."""
        return average, self.discriminator

    # -- what the loop calls -----------------------------------------------------------------------------------------

    def trainable(self) -> dict[str, nn.Module]:
        return {"generator": self.generator, "discriminator": self.discriminator}

    def optimisers(self) -> dict[str, torch.optim.Adam]:
        """Adam for each player. Lazy regularisers join the main update, so that needs no correction for extra steps."""
        o = self._optimiser

        def adam(network: nn.Module, lr: float) -> torch.optim.Adam:
            return torch.optim.Adam(network.parameters(), lr=lr, betas=(o.beta1, o.beta2), eps=1e-8, fused=True)

        return {
            "generator": adam(self.generator, o.lr),
            "discriminator": adam(self.discriminator, o.discriminator_lr or o.lr),
        }

    def prepare(
        self, played: dict[str, nn.Module], optimisers: dict[str, torch.optim.Optimizer], engine: Engine
    ) -> None:
        """Take the wrapped networks and optimisers from the loop."""
        self.played, self.optimiser, self.engine = played, optimisers, engine

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps = int(state["steps"])

    # -- what steps are made of --------------------------------------------------------------------------------------

    def _sync(self, name: str, last: bool) -> AbstractContextManager[Any]:
        """Processes exchange gradients in the last micro-batch only."""
        return nullcontext() if last else self.engine.no_sync(self.played[name])

    def _update(self, name: str, report: Terms) -> None:
        network = self.trainable()[name]
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        report[f"gradient_{name}"] = torch.stack(torch._foreach_norm(gradients)).norm()
        self.optimiser[name].step()
        self.optimiser[name].zero_grad(set_to_none=True)


def add_terms(report: Terms, terms: Terms, share: float) -> None:
    """Add `share` of each term to the report."""
    for name, value in terms.items():
        report[name] = report.get(name, torch.zeros_like(value)).detach() + value.detach() * share
