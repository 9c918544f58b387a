from __future__ import annotations

import pytest
import torch

from distilgan.networks.layers import minibatch_stddev, modulated_conv2d
from distilgan.networks.stylegan2 import StyleGAN2, StyleGAN2Config, channel_list
from distilgan.networks.stylegan2_discriminator import Discriminator, DiscriminatorConfig, discriminator_channels
from tests.conftest import tiny_discriminator, tiny_generator

# Parameter totals of the official networks (mapping depth 8), counted on the official code.
GENERATORS = [(1024, 32768, 30_370_060), (512, 16384, 24_860_935), (256, 32768, 30_034_338), (64, 16384, 23_819_544)]
DISCRIMINATORS = [
    (1024, 32768, 29_012_513),
    (256, 32768, 28_864_129),
    (256, 16384, 24_001_089),
    (32, 16384, 21_507_073),
]


@pytest.mark.parametrize(("resolution", "base", "total"), GENERATORS)
def test_generator_parameter_totals(resolution: int, base: int, total: int) -> None:
    with torch.device("meta"):
        network = StyleGAN2(StyleGAN2Config(resolution, channel_list(resolution, base)))
    assert sum(p.numel() for p in network.parameters()) == total


@pytest.mark.parametrize(("resolution", "base", "total"), DISCRIMINATORS)
def test_discriminator_parameter_totals(resolution: int, base: int, total: int) -> None:
    with torch.device("meta"):
        network = Discriminator(DiscriminatorConfig(resolution, discriminator_channels(resolution, base)))
    assert sum(p.numel() for p in network.parameters()) == total


def test_state_dict_sizes_at_256() -> None:
    with torch.device("meta"):
        assert len(StyleGAN2(StyleGAN2Config(256)).state_dict()) == 144
        assert len(Discriminator(DiscriminatorConfig(256)).state_dict()) == 64


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("demodulate", [False, True])
def test_modulated_convolution_forms_agree_with_the_paper(up: bool, demodulate: bool) -> None:
    """Both executions against equations 1 to 3 applied sample by sample in float64."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(3, 5, 6, 6, generator=generator, dtype=torch.float64)
    weight = torch.randn(4, 5, 3, 3, generator=generator, dtype=torch.float64)
    styles = torch.randn(3, 5, generator=generator, dtype=torch.float64) + 1
    kernel = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])).double() / 64
    expected = []
    for sample, s in zip(x, styles, strict=True):
        w = weight * s[None, :, None, None]
        if demodulate:
            w = w * torch.rsqrt(w.square().sum((1, 2, 3), keepdim=True) + 1e-8)
        if up:
            y = torch.nn.functional.conv_transpose2d(sample[None], w.transpose(0, 1), stride=2)
            y = torch.nn.functional.conv2d(y, (4 * kernel)[None, None].expand(4, 1, 4, 4), padding=1, groups=4)
        else:
            y = torch.nn.functional.conv2d(sample[None], w, padding=1)
        expected.append(y)
    for form in ("activations", "weights"):
        found = modulated_conv2d(x, weight, styles, demodulate=demodulate, up=up, kernel=kernel, form=form)  # type: ignore[arg-type]
        # demodulation is computed in float32 whatever the input
        torch.testing.assert_close(found, torch.cat(expected), atol=2e-6, rtol=2e-6)


@torch.no_grad()
def test_samples_do_not_influence_each_other(generator: StyleGAN2) -> None:
    z = torch.randn(5, 12)
    together, alone = generator(z), torch.cat([generator(row[None]) for row in z])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_truncation(generator: StyleGAN2) -> None:
    generator.mapping.w_avg.normal_()
    z = torch.randn(3, 12)
    full = generator(z, full=True)
    none = generator(z, truncation=0.0, full=True)
    torch.testing.assert_close(none.w, generator.mapping.w_avg.expand_as(none.w))
    half = generator(z, truncation=0.5, truncation_cutoff=2, full=True)
    torch.testing.assert_close(half.w[:, :2], 0.5 * (full.w[:, :2] + generator.mapping.w_avg))
    torch.testing.assert_close(half.w[:, 2:], full.w[:, 2:])


@torch.no_grad()
def test_style_mixing_and_offset(generator: StyleGAN2) -> None:
    first, second = torch.randn(2, 3, 12)
    a, b = generator(first, full=True).w, generator(second, full=True).w
    mixed = generator(first, mixing=(second, 2), full=True).w
    torch.testing.assert_close(mixed, torch.cat([a[:, :2], b[:, 2:]], dim=1))
    offset = torch.randn(3, 16)
    torch.testing.assert_close(generator(first, offset=offset, full=True).w, a + offset[:, None])


@torch.no_grad()
def test_noise(generator: StyleGAN2) -> None:
    z = torch.randn(2, 12)
    assert torch.equal(generator(z), generator(z, noise="const"))
    stored = [layer.noise_const for _, layer in generator.synthesis.layers()]
    torch.testing.assert_close(generator(z, noise=stored), generator(z))
    assert not torch.equal(generator(z, noise="random"), generator(z, noise="random"))
    assert not torch.allclose(generator(z, noise="none"), generator(z))
    fields = generator.sample_noise(2, torch.Generator().manual_seed(0))
    assert [f.shape[-1] for f in fields] == [4, 8, 8, 16, 16]


@torch.no_grad()
def test_taps(generator: StyleGAN2) -> None:
    out = generator(torch.randn(2, 12), taps=["synthesis.b8.conv1", "synthesis.b16.conv0"], full=True)
    assert {k: tuple(v.shape) for k, v in out.features.items()} == {
        "synthesis.b8.conv1": (2, 12, 8, 8),
        "synthesis.b16.conv0": (2, 12, 16, 16),
    }
    with pytest.raises(ValueError, match=r"near names: synthesis\.b16\.conv"):
        generator(torch.randn(1, 12), taps=["synthesis.b16.conv2"], full=True)


def test_gradients_reach_every_parameter(generator: StyleGAN2) -> None:
    discriminator = tiny_discriminator()
    discriminator(generator(torch.randn(4, 12))).sum().backward()
    for network in (generator, discriminator):
        for name, p in network.named_parameters():
            assert p.grad is not None, name
            assert float(p.grad.abs().sum()) > 0 or name == "b4.out.bias", name


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"resolution": 48}, "power of two"),
        ({"resolution": 16, "channels": [4, 4]}, "needs 6"),
        ({"resolution": 8, "channels": [4, 4, 0, 4]}, "at least 1"),
    ],
)
def test_impossible_configs_are_refused(kwargs: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StyleGAN2Config(**kwargs)  # type: ignore[arg-type]


def test_minibatch_stddev_by_hand() -> None:
    x = torch.randn(4, 2, 3, 3)
    y = minibatch_stddev(x, group=2)  # groups are {0, 2} and {1, 3}
    for first, second in ((0, 2), (1, 3)):
        deviation = ((x[first] - x[second]).abs() / 2).square().add(1e-8).sqrt().mean()
        torch.testing.assert_close(y[first, 2], deviation.expand(3, 3))
        torch.testing.assert_close(y[second, 2], deviation.expand(3, 3))


@torch.no_grad()
def test_bf16_autocast_is_close_to_float32() -> None:
    network = tiny_generator(32)
    z = torch.randn(4, 12)
    exact = network(z)
    with torch.autocast("cpu", torch.bfloat16):
        rough = network(z)
    assert rough.dtype == torch.float32
    error = (rough - exact).square().mean() / exact.square().mean()
    assert float(error) < 1e-3  # bf16 keeps eight bits: relative errors of 2e-3 an operation, a dozen in a row
