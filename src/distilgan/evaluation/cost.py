"""What a network costs: parameters, multiply-accumulates, activation memory, time.

MACs follow the convention of the GAN-compression papers (CAGC, StyleKD): products with learned weights only, a transposed
convolution counted at its input's resolution; fixed FIR filters, demodulation and element-wise work are not counted. The
matrix products of self-attention are.
"""

from __future__ import annotations

import statistics
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from distilgan.networks.conditional import Attention, ClassEmbedding
from distilgan.networks.layers import Conv2d, Linear
from distilgan.networks.stylegan2 import SynthesisLayer, ToRGB

Rule = Callable[[Any, Tensor, Tensor], int]


def _convolution(layer: Any, x: Tensor, y: Tensor) -> int:
    """Taps times output pixels, or input pixels where a transposed convolution doubles the size."""
    pixels = x if getattr(layer, "up", isinstance(layer, nn.ConvTranspose2d)) else y
    return int(layer.weight[0].numel() * layer.weight.shape[0] * pixels.shape[2] * pixels.shape[3])


def _attention(layer: Attention, x: Tensor, y: Tensor) -> int:
    """The two products between positions; its convolutions are counted as such."""
    positions, channels = x.shape[2] * x.shape[3], x.shape[1]
    return int(positions * (positions // 4) * (channels // 8 + channels // 2))


_RULES: dict[type[nn.Module], Rule] = {
    Linear: lambda layer, x, y: int(layer.weight.numel()),
    nn.Linear: lambda layer, x, y: int(layer.weight.numel()),
    SynthesisLayer: _convolution,
    ToRGB: _convolution,
    Conv2d: _convolution,
    nn.Conv2d: _convolution,
    nn.ConvTranspose2d: _convolution,
    Attention: _attention,
    ClassEmbedding: lambda layer, x, y: 0,
}


@torch.no_grad()
def count_macs(network: nn.Module, **inputs: Any) -> int:
    """Multiply-accumulates of one forward for one sample.

    Args:
        inputs: what `network.forward` takes, batch 1.

    Raises:
        TypeError: a module holds weights of its own that no rule counts.
    """
    total, handles = 0, []

    def count(rule: Rule) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(layer: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
            nonlocal total
            total += rule(layer, given[0], out)

        return hook

    for name, module in network.named_modules():
        own = [k for k, p in module.named_parameters(recurse=False) if p.dim() >= 2 and not k.startswith("const")]
        if type(module) in _RULES:
            handles.append(module.register_forward_hook(count(_RULES[type(module)])))
        elif own:
            raise TypeError(f"no rule counts the multiplications of {name} ({type(module).__name__})")
    try:
        network(**inputs)
    finally:
        for handle in handles:
            handle.remove()
    return total


def count_parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


class _LiveMemory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows the bytes of all tensors that operations make and that are still alive."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for value in torch.utils._pytree.tree_leaves(out):
            if isinstance(value, Tensor):
                self._follow(value.untyped_storage())
        return out

    def _follow(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._known:
            return
        self._known.add(key)
        size = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)

        def gone() -> None:
            self._known.discard(key)
            self.now -= size

        weakref.finalize(storage, gone)


@torch.no_grad()
def peak_activation_bytes(network: nn.Module, **inputs: Any) -> int:
    """Most bytes of intermediate tensors alive at once in one forward (weights and inputs not counted)."""
    with _LiveMemory() as memory:
        for p in [*network.parameters(), *network.buffers()]:
            memory._known.add(p.untyped_storage()._cdata)
        network(**inputs)
    return int(memory.peak)


@dataclass(frozen=True)
class Costed:
    """Something that makes pictures.

    Args:
        run: makes one. facts: what is known of its cost without a clock. device: where it works.
    """

    run: Callable[[], object]
    facts: dict[str, Any]
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __call__(self) -> None:
        """Make one picture and wait for it."""
        self.run()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


@torch.no_grad()
def costed_network(network: nn.Module, inputs: dict[str, Tensor]) -> Costed:
    """Parameters, MACs and peak activation memory of one forward; `inputs` of one sample, on the network's device."""
    facts = {
        "parameters": count_parameters(network),
        "macs": count_macs(network, **inputs),
        "peak_activation_bytes": peak_activation_bytes(network, **inputs),
    }
    return Costed(torch.no_grad()(lambda: network(**inputs)), facts, next(iter(inputs.values())).device)


def costs(items: Mapping[str, Costed], runs: int, means: Sequence[int] = ()) -> dict[str, dict[str, Any]]:
    """The facts of each and its times, taken in turn: a slow moment of the machine hits all alike. `means`: as in `latency`."""
    timed = latency(items, runs, means=means)
    found = {}
    for label, item in items.items():
        times = {f"latency_ms_{name}": value for name, value in timed[label].items()}
        found[label] = {**times, "threads": torch.get_num_threads(), "device": str(item.device), **item.facts}
    return found


def latency(
    runs: Mapping[str, Callable[[], object]], rounds: int = 30, warmup: int = 5, means: Sequence[int] = ()
) -> dict[str, dict[str, float]]:
    """Milliseconds of each call: {"p50", "p90"} over `rounds` in which they take turns, after `warmup` uncounted ones.

    Args:
        means: of how many of the first rounds the mean is given too ("mean_of_N"), where there are so many.
    """
    times: dict[str, list[float]] = {label: [] for label in runs}
    for i in range(warmup + rounds):
        for label, run in runs.items():
            start = time.perf_counter()
            run()
            if i >= warmup:
                times[label].append((time.perf_counter() - start) * 1e3)
    return {
        label: {
            "p50": _quantile(found, 0.5),
            "p90": _quantile(found, 0.9),
            **{f"mean_of_{n}": statistics.fmean(found[:n]) for n in means if n <= rounds},
        }
        for label, found in times.items()
    }


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
