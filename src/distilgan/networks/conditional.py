"""The layers that class-conditional generators and critics are made of.

Sources: Brock et al., "Large Scale GAN Training", 2019, appendix B (conditional normalisation, shared embedding); Zhang et
al., "Self-Attention GANs", 2019, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from distilgan.networks.generator import class_weights

STEM = 4
"""Side of the first feature map."""
_MOMENTUM = 0.1


def doublings(resolution: int) -> int:
    """Of the stem's size, until it is `resolution`; ValueError if it never is."""
    if resolution < 2 * STEM or resolution & (resolution - 1):
        raise ValueError(f"resolution={resolution}: must be a power of two, at least {2 * STEM}")
    return (resolution // STEM).bit_length() - 1


def check_widths(resolution: int, channels: list[int], blocks: int = 1) -> None:
    """Raise ValueError unless `channels` are widths of the stem and of `blocks` blocks for each doubling."""
    needed = 1 + blocks * doublings(resolution)
    if len(channels) != needed:
        raise ValueError(f"channels has {len(channels)} entries; {resolution} px needs {needed}, the stem's first")
    if min(channels) < 1:
        raise ValueError(f"channels={channels}: every entry must be at least 1")


def check_halvings(resolution: int, channels: list[int]) -> None:
    """Raise ValueError unless `channels` are widths of layers each of which can halve the size."""
    if not channels or min(channels) < 1:
        raise ValueError(f"channels={channels}: give at least one, every entry at least 1")
    if resolution >> len(channels) < 1:
        raise ValueError(f"channels has {len(channels)} entries; {resolution} px cannot be halved so often")


def check_positive(config: object, *names: str) -> None:
    """Raise ValueError unless each named attribute is at least 1."""
    for name in names:
        if getattr(config, name) < 1:
            raise ValueError(f"{name}={getattr(config, name)}: must be at least 1")


class ClassEmbedding(nn.Embedding):
    """Class numbers [N], or weights of classes [N, num_classes], to vectors [N, D]."""

    def forward(self, label: Tensor) -> Tensor:
        if label.dim() == 1 and not label.is_floating_point():
            picked: Tensor = super().forward(label)
            return picked
        mixed: Tensor = class_weights(label, self.num_embeddings) @ self.weight
        return mixed


@dataclass(frozen=True)
class StatisticsRow:
    """Which stored statistics to use: row `low`, or between it and `high` by `share` of the way."""

    low: int = 0
    high: int = 0
    share: float = 0.0

    def pick(self, rows: Tensor) -> Tensor:
        """[S, C] -> [C]."""
        return rows[self.low] if self.low == self.high else torch.lerp(rows[self.low], rows[self.high], self.share)


class BatchNorm(nn.Module):
    """Batch normalisation without gain and offset: (x - μ) / √(σ² + ε) by channel.

    In training the moments are those of the batch over all processes (each holds an equal share), and the stored ones follow
    them. In eval mode the stored ones are used; `rows` > 1 are statistics for several truncations, which do not train.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, eps: float = 1e-5, rows: int = 1) -> None:
        super().__init__()
        self.eps = eps
        self.register_buffer("running_mean", torch.zeros(rows, channels))
        self.register_buffer("running_var", torch.ones(rows, channels))

    def forward(self, x: Tensor, row: StatisticsRow) -> Tensor:
        if self.training and len(self.running_mean) > 1:
            raise RuntimeError("a network with statistics of several truncations does not train")
        if self.training and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            return self._over_processes(x)
        mean, variance = row.pick(self.running_mean), row.pick(self.running_var)
        y: Tensor = F.batch_norm(x, mean, variance, None, None, self.training, _MOMENTUM, self.eps)
        return y

    def _over_processes(self, x: Tensor) -> Tensor:
        # torch's SyncBatchNorm refuses the CPU.
        from torch.distributed.nn.functional import all_reduce

        def everywhere(values: Tensor) -> Tensor:
            total: Tensor = all_reduce(values.mean((0, 2, 3)))  # type: ignore[no-untyped-call]
            return total / dist.get_world_size()

        y = x.float()
        mean = everywhere(y)
        # Not E y² - (E y)², which is below 0 where a channel hardly varies.
        variance = everywhere((y - mean[:, None, None]).square())
        with torch.no_grad():
            n = dist.get_world_size() * y.numel() / y.shape[1]
            self.running_mean[0].lerp_(mean, _MOMENTUM)
            self.running_var[0].lerp_(variance * (n / (n - 1)), _MOMENTUM)
        scale = torch.rsqrt(variance + self.eps)
        normal: Tensor = (y - mean[:, None, None]) * scale[:, None, None]
        return normal.to(x.dtype)


class AffineBatchNorm(nn.Module):
    """Batch normalisation with one gain and offset a channel."""

    def __init__(self, channels: int, eps: float = 1e-5, rows: int = 1) -> None:
        super().__init__()
        self.norm = BatchNorm(channels, eps, rows)
        self.gain = nn.Parameter(torch.ones(channels))
        self.offset = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, row: StatisticsRow) -> Tensor:
        y = self.norm(x, row)
        return torch.addcmul(self.offset.to(y.dtype)[:, None, None], y, self.gain.to(y.dtype)[:, None, None])


class ConditionalBatchNorm(nn.Module):
    """Batch normalisation whose gain 1 + g(c) and offset o(c) are linear in the condition.

    Args:
        condition: length of the condition vector; or, with `classes`, ignored: gain and offset are then tables by class.
        bias: whether g and o have a bias.
    """

    def __init__(
        self, channels: int, condition: int, *, classes: int = 0, bias: bool = False, eps: float = 1e-5, rows: int = 1
    ) -> None:
        super().__init__()
        self.norm = BatchNorm(channels, eps, rows)
        if classes:
            self.gain: nn.Module = ClassEmbedding(classes, channels)
            self.offset: nn.Module = ClassEmbedding(classes, channels)
        else:
            self.gain = nn.Linear(condition, channels, bias=bias)
            self.offset = nn.Linear(condition, channels, bias=bias)

    def forward(self, x: Tensor, condition: Tensor, row: StatisticsRow) -> Tensor:
        y = self.norm(x, row)
        gain = (1 + self.gain(condition)).to(y.dtype)[:, :, None, None]
        return torch.addcmul(self.offset(condition).to(y.dtype)[:, :, None, None], y, gain)


class Attention(nn.Module):
    """x + γ · o(softmax(θ(x)ᵀ φ(x)) g(x)): every position looks at all others; keys and values at half the resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels < 8:
            raise ValueError(f"channels: self-attention needs a width of at least 8, not {channels}")
        self.theta = nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.phi = nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.g = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.o = nn.Conv2d(channels // 2, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros([]))

    def forward(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        query = self.theta(x).flatten(2).transpose(1, 2)  # [N, HW, C/8]
        key = F.max_pool2d(self.phi(x), 2).flatten(2)  # [N, C/8, HW/4]
        value = F.max_pool2d(self.g(x), 2).flatten(2)  # [N, C/2, HW/4]
        attention = torch.softmax((query @ key).float(), dim=-1).to(value.dtype)
        seen = (value @ attention.transpose(1, 2)).reshape(n, -1, h, w)
        y: Tensor = x + self.gamma.to(x.dtype) * self.o(seen)
        return y
