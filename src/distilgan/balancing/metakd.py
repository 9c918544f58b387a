"""MetaKD: a small network that learns, from how losses and their gradients develop, which of them to weigh more.

For losses L_i with base weights b_i it sees, each clipped to ±5,

    d_i = log(L_i / E_i),   p_i = log(E_i / L_i⁰),   q_i = log(G_i / mean_j G_j),   τ = share of the run that is over,

E_i and G_i running means of the loss and of ‖∇ b_i L_i‖ on the layers that all losses reach, L_i⁰ the value of E_i at the first
update. A perceptron 3N+1 - 32 - N gives z, and

    a = N ((1 - ρ) softmax(z) + ρ / N),   so that Σ a_i = N and each a_i ≥ ρ;

its last layer starts at zero: a = 1, fixed weights. Every K steps it learns from the meta-loss M, taken on people (or latents)
that the student is not trained on. A step of the student along its losses' gradients g_i with weights λ_i changes M by

    ∂M(θ - η P Σ_i λ_i g_i) / ∂λ_i = -η <∇M, P g_i>,

∇M taken after the step (`balancer.lookahead`: after how much of it), P the optimiser's own scaling. Only the angle is used,
h_i = -<∇M, P g_i> / (‖∇M‖_P ‖g_i‖_P) in [-1, 1], ‖x‖_P² = <x, P x>: the product itself would ask for the loss with the longest
gradient. One Adam step on Σ_i ĥ_i a_i + β Σ_i (a_i / N) log a_i follows, ĥ a running mean of h, and the applied factors move
towards a: ā ← 0.7 ā + 0.3 a.

The derivative holds P fixed. The student's Adam does not: within some 1 / (1 - β₂) steps it divides a parameter's gradients by
their own new size, so that a weight acts for good only on parameters that another loss moves too, where it turns their
direction. `balancer.reach=shared` takes the angles over those.

Source: the MetaKD report fixes the three losses, the two signals and that the weights are learnt, not how. This is our reading;
`docs/metakd.md` says which alternatives were measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from distilgan.balancing.base import Balancer, Seen, Wants

Signals = Literal["both", "loss", "gradient", "none", "shuffled"]
_USED = {"loss": ["loss_change", "loss"], "gradient": ["gradient"], "none": []}
_HIDDEN, _CLIP = 32, 5.0
_LOSS_DECAY, _NORM_DECAY, _ALIGNMENT_DECAY = 0.9, 0.9, 0.8


class RunningMean:
    """Exponential mean without the bias of its start."""

    def __init__(self, decay: float) -> None:
        self.decay, self.total, self.weight = decay, torch.zeros([], dtype=torch.float64), 0.0

    def add(self, value: Tensor) -> Tensor:
        self.total = self.decay * self.total + (1 - self.decay) * value
        self.weight = self.decay * self.weight + 1 - self.decay
        return self.value

    @property
    def value(self) -> Tensor:
        return self.total / max(self.weight, 1e-12)

    def state_dict(self) -> dict[str, Any]:
        return {"total": self.total, "weight": self.weight}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.total, self.weight = state["total"], state["weight"]


class MetaKD(Balancer):
    """The meta-learner.

    Args:
        lr: of its Adam. every: K. warmup: images before it moves. floor: ρ; 1 leaves the weights fixed. entropy: β.
        smoothing: share of the applied factors that stays at an update, 0.7 above.
        signals: which inputs it has (`loss`: d and p, `gradient`: q, `none`; τ always); h_i, from which it learns, is there in any
            case. `shuffled` deals inputs and h_i out to the losses at random, anew at every update: a control that must not help.
        seed: of its first weights and of the shuffling.
    """

    def __init__(
        self, base: Mapping[str, float], lr: float, *, every: int = 10, warmup: int = 0, floor: float = 0.15,
        entropy: float = 0.1, smoothing: float = 0.7, signals: Signals = "both", seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(base)
        n = len(base)
        self.every, self.warmup, self.floor, self.entropy = every, warmup, floor, entropy
        self.smoothing, self.kind, self.seed = smoothing, signals, seed
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            last = nn.Linear(_HIDDEN, n, dtype=torch.float64)
            self.network = nn.Sequential(nn.Linear(3 * n + 1, _HIDDEN, dtype=torch.float64), nn.Tanh(), last)
        for p in last.parameters():
            nn.init.zeros_(p)
        self._adam = torch.optim.Adam(self.network.parameters(), lr=lr)
        self._loss, self._norm = RunningMean(_LOSS_DECAY), RunningMean(_NORM_DECAY)
        self._alignment = RunningMean(_ALIGNMENT_DECAY)
        self._first: Tensor | None = None
        self._signals: dict[str, list[float]] = {}

    def wants(self, images: int) -> Wants:
        due = images >= self.warmup and self.moves % self.every == self.every - 1
        return Wants(norms=due, alignment=due)

    def move(self, seen: Seen) -> None:
        mean = self._loss.add(seen.losses)
        if seen.norms is None or seen.alignment is None:
            return
        if self._first is None:
            self._first = mean
        norm, h = self._norm.add(seen.norms), self._alignment.add(seen.alignment)
        signals = {
            "loss_change": _log(seen.losses, mean),
            "loss": _log(mean, self._first),
            "gradient": _log(norm, norm.mean()),
        }
        self._signals = {name: value.tolist() for name, value in {**signals, "alignment": h}.items()}
        used = _USED.get(self.kind, list(signals))
        given = {k: v if k in used else torch.zeros_like(v) for k, v in signals.items()}
        if self.kind == "shuffled":
            order = torch.randperm(len(h), generator=torch.Generator().manual_seed(self.seed * 1_000_003 + self.moves))
            h, given = h[order], {name: value[order] for name, value in given.items()}
        inputs = torch.cat([*given.values(), torch.tensor([seen.progress], dtype=torch.float64)])

        n = len(self.base)
        a = self._factors(inputs)
        loss = (h * a).sum() + self.entropy * (a / n * a.clamp(min=1e-12).log()).sum()
        self._adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._adam.step()
        with torch.no_grad():
            self.factors = self.smoothing * self.factors + (1 - self.smoothing) * self._factors(inputs)

    def _factors(self, inputs: Tensor) -> Tensor:
        n = len(self.base)
        z: Tensor = self.network(inputs)
        return n * (1 - self.floor) * torch.softmax(z, 0) + self.floor

    def signals(self) -> dict[str, list[float]]:
        return self._signals

    def state_dict(self) -> dict[str, Any]:
        means = {name: getattr(self, f"_{name}").state_dict() for name in ("loss", "norm", "alignment")}
        return {
            **super().state_dict(),
            "network": self.network.state_dict(),
            "adam": self._adam.state_dict(),
            "means": means,
            "first": self._first,
            "signals": self._signals,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.network.load_state_dict(state["network"])
        self._adam.load_state_dict(state["adam"])
        for name, mean in state["means"].items():
            getattr(self, f"_{name}").load_state_dict(mean)
        self._first, self._signals = state["first"], state["signals"]


def _log(value: Tensor, of: Tensor) -> Tensor:
    return (value.clamp(min=1e-12) / of.clamp(min=1e-12)).log().clamp(-_CLIP, _CLIP)
