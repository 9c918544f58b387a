from __future__ import annotations

import torch
from torch import nn

from distilgan.training.ema import EMA


def test_half_life_is_in_images_whatever_the_batch() -> None:
    """From 0 towards 1: after one half-life half of the way, for any batch size."""
    for batch in (1, 10, 50):
        network = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(network.weight)
        ema = EMA(network, half_life=100)
        nn.init.ones_(network.weight)
        for seen in range(0, 100, batch):
            ema.update(network, batch, seen)
        torch.testing.assert_close(ema.network.weight, torch.full((1, 1), 0.5))


def test_rampup_forgets_the_start() -> None:
    network = nn.Linear(1, 1, bias=False)
    ema = EMA(network, half_life=10**6, rampup=0.05)
    nn.init.constant_(network.weight, 3.0)
    ema.update(network, batch=10, images=0)
    torch.testing.assert_close(ema.network.weight, network.weight)


def test_stored_moments_are_averaged_other_buffers_copied_and_nothing_requires_grad() -> None:
    network = nn.BatchNorm1d(2)
    ema = EMA(network, half_life=8)
    network(torch.randn(8, 2))
    ema.update(network, 8, 1000)
    torch.testing.assert_close(ema.network.running_mean, network.running_mean / 2)
    torch.testing.assert_close(ema.network.running_var, (1 + network.running_var) / 2)
    assert int(ema.network.num_batches_tracked) == 1
    assert not any(p.requires_grad for p in ema.network.parameters())
