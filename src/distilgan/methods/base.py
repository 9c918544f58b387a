"""What the training loop asks of every method, and what every method has from the loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from distilgan.balancing import Balancer
from distilgan.balancing.probe import gradient
from distilgan.errors import UserError
from distilgan.methods.balance import Balance, build_balancer, statistics_kept
from distilgan.methods.draws import Draws
from distilgan.networks.pretrained import Pretrained
from distilgan.recipe import Balancing, DistillRecipe, Optimiser, Training

Terms = dict[str, Tensor]


class Batchlike(Protocol):
    """One process's share of a step, or a micro-batch of it."""

    def to(self, device: torch.device) -> Self:
        """On `device`, pictures as float in [-1, 1]."""


B = TypeVar("B", bound=Batchlike)
Shown = TypeVar("Shown", bound=Batchlike, covariant=True)
G = TypeVar("G", bound=Pretrained)
T = TypeVar("T")


class Lessons(Protocol[Shown]):
    """Where batches come from."""

    def batches(
        self, batch: int, seed: int, *, start: int, mirror: bool, part: int, parts: int, workers: int
    ) -> Iterator[Shown]:
        """Endless batches of [batch / parts] from position `start` of a shuffle."""


@dataclass
class Engine:
    """How the loop runs tensors, so that methods know nothing of devices and processes; by default one, in full precision."""

    backward: Callable[[Tensor], None] = lambda loss: loss.backward()  # type: ignore[no-untyped-call]
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext
    no_sync: Callable[[nn.Module], AbstractContextManager[Any]] = lambda network: nullcontext()
    mean_over_processes: Callable[[Tensor], Tensor] = lambda value: value


class Method(ABC, Generic[B, G]):
    """Owns a network, its discriminator if it has one, and their optimisers.

    Attributes:
        generator: the network that is made; the plain one. discriminator: its critic.
        weights: of the generator's terms, by name, as they are now.
        played: the networks wrapped by the loop for training (precision, processes); set by `prepare`.
        steps: updates done.
        balancer: what moves the weights of the terms that compare student and teacher; None: they stay. balancing: how.
        taught_by: name and SHA-256 of the teacher, whose weights are in no checkpoint.
    """

    generator: G
    discriminator: Pretrained | None = None
    weights: dict[str, float]
    balancer: Balancer | None = None
    balancing: Balancing
    taught_by: tuple[str, str] | None = None

    def __init__(self, optimiser: Optimiser, training: Training) -> None:
        self.training, self._optimiser = training, optimiser
        self.steps = 0
        # What was learnt from a share of a step is forgotten with its numbers.
        self._taught_before: WeakKeyDictionary[Draws, Any] = WeakKeyDictionary()

    # -- what a method says ------------------------------------------------------------------------------------------

    @abstractmethod
    def step(self, batches: list[B], draws: list[Draws]) -> Terms:
        """One update of all players from micro-batches; returns detached raw terms by name."""

    @abstractmethod
    def lessons(self) -> Lessons[B]:
        """What the steps see."""

    @abstractmethod
    def sample_rows(self, average: G, seed: int) -> list[Tensor]:
        """Rows of pictures that show what the averaged network has learnt, uint8 [columns, 3, R, R] each; [] for none."""

    def check_share(self, samples: int) -> None:
        """Raise UserError when a step cannot be made of shares of `samples` samples."""

    def layout(self, device: torch.device) -> torch.memory_format:
        """How networks, and the pictures that they are given, lie in memory on `device`."""
        return torch.channels_last

    def frozen(self) -> list[nn.Module]:
        """Networks that do not train but must move to the device."""
        return []

    def finished(self, average: G) -> tuple[G, Pretrained | None]:
        """The averaged generator and the discriminator, if one was trained, as they are to be stored."""
        return average, self.discriminator

    # -- what the loop calls -----------------------------------------------------------------------------------------

    def trainable(self) -> dict[str, nn.Module]:
        """The networks that learn, each with an optimiser of its own."""
        players: dict[str, nn.Module] = {"generator": self.generator}
        return players if self.discriminator is None else {**players, "discriminator": self.discriminator}

    def optimisers(self) -> dict[str, torch.optim.Adam]:
        """Adam for each player. Lazy regularisers join the main update, so that needs no correction for extra steps."""
        o = self._optimiser

        def adam(network: nn.Module, lr: float) -> torch.optim.Adam:
            return torch.optim.Adam(network.parameters(), lr=lr, betas=(o.beta1, o.beta2), eps=1e-8, fused=True)

        rates = {"discriminator": o.discriminator_lr or o.lr}
        return {name: adam(network, rates.get(name, o.lr)) for name, network in self.trainable().items()}

    def prepare(
        self, played: dict[str, nn.Module], optimisers: dict[str, torch.optim.Optimizer], engine: Engine
    ) -> None:
        """Take the wrapped networks and optimisers from the loop."""
        self.played, self.optimiser, self.engine = played, optimisers, engine
        self.balance: Balance | None = None
        if self.balancer is not None:
            parameters = [p for p in self.generator.parameters() if p.requires_grad]
            self.balance = Balance(
                self.balancer, self.balancing, self.training.images, parameters, optimisers["generator"],
                engine.mean_over_processes,
            )  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        own = {"steps": self.steps, "teacher_sha256": self.taught_by and self.taught_by[1]}
        return own if self.balancer is None else {**own, "balancer": self.balancer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state.get("teacher_sha256") != (self.taught_by and self.taught_by[1]):
            name = self.taught_by[0] if self.taught_by else "null"
            raise UserError(f"teacher {name}: its weights changed since this run began; start over with --fresh")
        self.steps = int(state["steps"])
        if self.balancer is not None:
            self.balancer.load_state_dict(state["balancer"])

    def balance_by(self, recipe: DistillRecipe) -> None:
        """Have the weights of the terms that compare student and teacher moved as a recipe says."""
        self.balancing, self.balancer = recipe.balancer, build_balancer(recipe)

    # -- what steps are made of --------------------------------------------------------------------------------------

    def _sync(self, name: str, last: bool) -> AbstractContextManager[Any]:
        """Processes exchange gradients in the last micro-batch only."""
        return nullcontext() if last else self.engine.no_sync(self.played[name])

    def _backward(self, terms: Terms, parts: int) -> None:
        """Gradients of the generator's weighted terms, of one of `parts` micro-batches."""
        if self.balance is not None:
            self.weights = {**self.weights, **self.balance.weigh(terms, parts)}
        loss = torch.stack([self.weights[name] * value for name, value in terms.items()]).sum()
        self.engine.backward(loss / parts)

    def _begin_balance(self, draws: list[Draws]) -> None:
        if self.balance is not None:
            self.balance.begin(draws[0].images)

    def _balanced_update(self, draws: list[Draws], report: Terms, again: Callable[[], list[Terms]]) -> None:
        """Move the generator, and the balancer after it; `again` gives the micro-batches' balanced terms as they are then."""
        if self.balance is None:
            self._update("generator", report)
            return

        def meta(parameters: Sequence[Tensor]) -> Tensor:
            return torch.stack([gradient(self.meta_loss(d) / len(draws), parameters)[0] for d in draws]).sum(0)

        self.balance.before_update()
        self._update("generator", report)
        kept = statistics_kept(self.generator)
        self.balance.after_update(kept(meta), kept(again))

    def once_a_step(self, draws: Draws, taught: Callable[[], T]) -> T:
        """What `taught` gives; if the balancer looks at the losses a second time in this step, then what it gave first."""
        if self.balance is None or not self.balance.wants.after:
            return taught()
        if draws not in self._taught_before:
            self._taught_before[draws] = taught()
        found: T = self._taught_before[draws]
        return found

    def meta_loss(self, draws: Draws) -> Tensor:
        """What a student's step is to lower: how far it is from the teacher on what it is not trained on."""
        raise NotImplementedError

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
