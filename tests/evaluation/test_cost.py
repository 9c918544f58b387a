"""Costs against the figures that papers and other tools give."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from distilgan.evaluation.cost import count_macs, count_parameters, latency, peak_activation_bytes
from distilgan.networks.slicing import thinned
from distilgan.networks.stylegan2 import StyleGAN2, StyleGAN2Config, channel_list
from tests.conftest import tiny_generator

# resolution, share kept -> MACs and parameters of the CAGC paper's networks (its own counter's constants for the full ones)
GOLDEN = [
    (256, 1.0, 45_124_673_536, 30_034_338),
    (256, 0.3, 4_123_578_080, 5_573_364),
    (1024, 1.0, 74_266_894_336, 30_370_060),
    (1024, 0.3, 6_990_183_648, 5_647_891),
]


@pytest.mark.parametrize(("resolution", "keep", "macs", "parameters"), GOLDEN)
def test_golden_costs(resolution: int, keep: float, macs: int, parameters: int) -> None:
    network = StyleGAN2(StyleGAN2Config(resolution, thinned(channel_list(resolution), keep)))
    assert count_macs(network, z=torch.zeros(1, 512)) == macs
    assert count_parameters(network) == parameters


def test_macs_against_the_dispatcher() -> None:
    """torch's own counter sees the blurs and the demodulation as well; the rest must be equal."""
    network = tiny_generator(32)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.requires_grad_(False)(torch.zeros(1, 12))
    blurs = demodulation = 0
    for _, layer in network.synthesis.layers():
        outputs, inputs = layer.weight.shape[:2]
        demodulation += outputs * inputs
        if layer.up:
            blurs += 16 * outputs * layer.resolution**2
    assert counter.get_total_flops() == 2 * (count_macs(network, z=torch.zeros(1, 12)) + blurs + demodulation)


def test_uncounted_weights_are_an_error() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(3, 3))

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return z @ self.weight

    with pytest.raises(TypeError, match="no rule counts"):
        count_macs(Odd(), z=torch.zeros(1, 3))


def test_peak_memory_by_hand() -> None:
    class Chain(nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            a = z + 1  # 4000 bytes
            b = a * 2  # 8000 alive
            del a
            c = torch.cat([b, b])  # 4000 + 8000 alive
            del b
            return c[:10].clone()  # 8000 + 40

    assert peak_activation_bytes(Chain(), z=torch.zeros(1000)) == 12_000


def test_latency_orders_and_warms_up() -> None:
    """Calls take turns, so that a slow moment hits all alike."""
    calls: list[str] = []
    found = latency({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=10, warmup=3)
    assert calls == ["a", "b"] * 13
    assert all(0 <= times["p50"] <= times["p90"] for times in found.values())
