from __future__ import annotations

import pytest
import torch

from distilgan.networks.statistics import InstanceNorm


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradients_of_any_layout(n: int, layout: torch.memory_format) -> None:
    """`F.instance_norm` alone fails this for n = 1 in channels-last."""
    x = torch.randn(n, 5, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    wanted = torch.randn(n, 5, 4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    variance, mean = torch.var_mean(x, (2, 3), correction=0, keepdim=True)
    (expected,) = torch.autograd.grad((x - mean) * (variance + 1e-5).rsqrt(), x, wanted)
    (found,) = torch.autograd.grad(InstanceNorm()(x), x, wanted.contiguous(memory_format=layout))
    torch.testing.assert_close(found, expected)
