"""A translator whose bottleneck is a chain of neural ODEs: NijiGAN's generator.

Each block carries its input h(0) to h(1) along dh/dt = f(t, h), f being the layers of a residual block; a residual block is one
Euler step of it. Fixed-step solvers are tables (Butcher's), unrolled, and can be exported; `dopri5` adapts its steps and is
torchdiffeq's.

Sources: the NijiGAN report (arXiv 2412.19455); Chen et al., "Neural Ordinary Differential Equations", NeurIPS 2018. The report
names neither blocks, time input, activation nor tolerances; four blocks of the plain form have its 5.477 M parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from distilgan.networks.resnet_translator import Norm, ResnetConfig, ResnetTranslator, residual_function

Solver = Literal["euler", "midpoint", "rk4", "dopri5"]
Activation = Literal["relu", "softplus", "silu"]


class Tableau(NamedTuple):
    """An explicit Runge-Kutta step: stage i is taken at t + times[i] dt, from the stages before by rows[i]; `sums` ends it."""

    times: tuple[float, ...]
    rows: tuple[tuple[float, ...], ...]
    sums: tuple[float, ...]


# rk4 is Kutta's 3/8 rule, as in torchdiffeq.
SOLVERS = {
    "euler": Tableau((0.0,), ((),), (1.0,)),
    "midpoint": Tableau((0.0, 0.5), ((), (0.5,)), (0.0, 1.0)),
    "rk4": Tableau(
        (0.0, 1 / 3, 2 / 3, 1.0), ((), (1 / 3,), (-1 / 3, 1.0), (1.0, -1.0, 1.0)), (1 / 8, 3 / 8, 3 / 8, 1 / 8)
    ),
}
_ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {"relu": nn.ReLU, "softplus": nn.Softplus, "silu": nn.SiLU}


@dataclass(frozen=True)
class ODEConfig(ResnetConfig):
    """Args:
    solver: with a fixed number of `steps` from 0 to 1; or dopri5 with tolerances `rtol`, `atol`, whose gradient comes from the
        adjoint equation if `adjoint`, which keeps no activations.
    time_input: f is also given t, as a channel of each convolution. last_norm: f ends in a norm; without it a block can be near
        the identity. depthwise: 3x3 of each channel, then 1x1.
    norm: batch has statistics of its own, which an export folds into the convolutions.
    folded: each position of the first and last layer holds so many pixels of each side. stem: size of their convolutions.
    """

    blocks: int = 4
    solver: Solver = "euler"
    steps: int = 1
    rtol: float = 1e-2
    atol: float = 1e-2
    adjoint: bool = False
    time_input: bool = False
    last_norm: bool = True
    depthwise: bool = False
    activation: Activation = "relu"
    norm: Norm = "instance"
    folded: int = 1
    stem: int = 7

    def __post_init__(self) -> None:
        if self.folded < 1 or self.stem % 2 == 0:
            raise ValueError(f"folded={self.folded}, stem={self.stem}: at least 1, and odd")
        super().__post_init__()
        if self.steps < 1:
            raise ValueError(f"steps={self.steps}: at least 1")
        if self.rtol <= 0 or self.atol <= 0:
            raise ValueError(f"rtol={self.rtol:g}, atol={self.atol:g}: must be above 0")

    @property
    def multiple(self) -> int:
        return int(2**self.halvings * self.folded)


class ODEBlock(nn.Module):
    """h(0) -> h(1) along dh/dt = f(t, h).

    Attributes:
        evaluations: of f in the last forward.
    """

    def __init__(self, config: ODEConfig) -> None:
        super().__init__()
        self.config, self.evaluations, self._counted = config, 0, 0
        self.conv_block = residual_function(
            config.channels[-1], norm=config.norm, activation=_ACTIVATIONS[config.activation],
            last_norm=config.last_norm, depthwise=config.depthwise, extra=int(config.time_input),
        )  # fmt: skip

    def f(self, t: Tensor | float, h: Tensor) -> Tensor:
        if not torch.compiler.is_exporting():
            self._counted += 1
        if not self.config.time_input:
            y: Tensor = self.conv_block(h)
            return y
        for layer in self.conv_block:
            takes_time = isinstance(layer, nn.Conv2d | nn.Sequential)
            h = layer(torch.cat([h, torch.ones_like(h[:, :1]) * t], 1) if takes_time else h)
        return h

    def forward(self, h: Tensor) -> Tensor:
        exporting = torch.compiler.is_exporting()
        if not exporting:
            self._counted = 0
        h = self._adaptive(h) if self.config.solver == "dopri5" else self._fixed(h, SOLVERS[self.config.solver])
        if not exporting:
            self.evaluations = self._counted  # without those of the adjoint's backward, which come later
        return h

    def _fixed(self, h: Tensor, table: Tableau) -> Tensor:
        c = self.config
        dt = 1 / c.steps
        for step in range(c.steps):
            stages: list[Tensor] = []
            for time, row in zip(table.times, table.rows, strict=True):
                stages.append(self.f((step + time) * dt, _moved(h, row, stages, dt)))
            h = _moved(h, table.sums, stages, dt)
        return h

    def _adaptive(self, h: Tensor) -> Tensor:
        from torchdiffeq import odeint, odeint_adjoint

        c = self.config
        span = torch.tensor([0.0, 1.0], device=h.device)
        # Error estimates need more digits than bf16 has.
        h = h.to(torch.promote_types(h.dtype, torch.float32))
        if c.adjoint:
            ends = odeint_adjoint(
                self.f, h, span, rtol=c.rtol, atol=c.atol, method="dopri5", adjoint_params=tuple(self.parameters())
            )
        else:
            ends = odeint(self.f, h, span, rtol=c.rtol, atol=c.atol, method="dopri5")
        last: Tensor = ends[-1]
        return last


def _moved(h: Tensor, factors: tuple[float, ...], stages: list[Tensor], dt: float) -> Tensor:
    """h + dt Σ factor · stage."""
    for factor, stage in zip(factors, stages, strict=True):
        if factor:
            h = h + (stage if factor * dt == 1 else stage * (factor * dt))
    return h


class ODETranslator(ResnetTranslator):
    """CUT's encoder and decoder around ODE blocks."""

    family = "ode_translator"
    config_class = ODEConfig
    config: ODEConfig

    def __init__(self, config: ODEConfig) -> None:
        super().__init__()
        self.config = config
        self._build(lambda: ODEBlock(config), config.norm, config.folded, config.stem)

    @property
    def evaluations(self) -> list[int]:
        """Of each block's function in the last forward."""
        return [block.evaluations for block in self.blocks if isinstance(block, ODEBlock)]

    def solved_by(self, **changes: Any) -> ODETranslator:
        """The same weights, not copied, under another solver, in eval mode; `changes` to the config."""
        with torch.device("meta"):
            other = ODETranslator(replace(self.config, adjoint=False, **changes))
        other.load_state_dict(self.state_dict(keep_vars=True), assign=True)
        return other.eval()

    def with_fixed_steps(self) -> ODETranslator:
        """Itself, or instead of dopri5 rk4 with as many evaluations as that takes at least."""
        return self.solved_by(solver="rk4", steps=2) if self.config.solver == "dopri5" else self

    def _neighbours(self, layer: nn.Module) -> int:
        c, once = self.config, super()._neighbours(layer)
        if not isinstance(layer, ODEBlock):
            return once
        if c.solver == "dopri5":
            raise ValueError("adaptive steps look as far as a picture asks for; take with_fixed_steps()")
        return once * len(SOLVERS[c.solver].times) * c.steps
