"""Golden counts of the published networks, and what the class-conditional layers promise."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from distilgan.errors import UserError
from distilgan.evaluation.cost import count_macs, count_parameters
from distilgan.networks.biggan import BigGAN, BigGANConfig, BigGANDeep, orthogonal_init
from distilgan.networks.conditional import Attention, BatchNorm, ConditionalBatchNorm, StatisticsRow
from distilgan.networks.distylegan import DiStyleCritic, DiStyleCriticConfig, DiStyleGAN, DiStyleGANConfig
from distilgan.networks.families import load_network
from distilgan.networks.generator import ImageGenerator
from distilgan.networks.projection_discriminator import ProjectionDiscriminator, ProjectionDiscriminatorConfig
from distilgan.networks.resnet_discriminator import ResNetDiscriminator, ResNetDiscriminatorConfig
from distilgan.networks.spectral import add_spectral_norm, baked
from distilgan.networks.stylegan2 import StyleGAN2, StyleGAN2Config, channel_list
from distilgan.networks.tinygan import TinyGAN, TinyGANConfig
from tests.conftest import conditional

TINY = [512, 512, 256, 128, 64, 32]


# Brock et al. 2019, appendix B, tables 4 to 6; at 32 px those of the CIFAR-10 recipe: the stem's width and the blocks'.
BIGGAN = {
    32: [4, 4, 4, 4],
    64: [16, 16, 8, 4, 2],
    128: [16, 16, 8, 4, 2, 1],
    256: [16, 16, 8, 8, 4, 2, 1],
    512: [16, 16, 8, 8, 4, 2, 1, 1],
}


def biggan_channels(resolution: int, width: int) -> list[int]:
    return [width * m for m in BIGGAN[resolution]]


def biggan_deep_channels(resolution: int, width: int) -> list[int]:
    """Tables 7 to 9: each size has one block that keeps the width and one that doubles the size."""
    single = biggan_channels(resolution, width)
    return [single[0]] + [w for before, after in itertools.pairwise(single) for w in (before, after)]


KINDS = ["biggan", "biggan-deep", "tinygan", "distylegan", "stylegan2"]


@pytest.mark.parametrize(
    ("resolution", "width", "z_dim", "attention", "parameters"),
    [(128, 96, 120, 64, 70_433_988),
     (256, 96, 140, 128, 82_097_604), (512, 96, 128, 64, 82_296_804), (128, 64, 120, 64, 31_978_628)],
)  # fmt: skip
def test_biggan_counts(resolution: int, width: int, z_dim: int, attention: int, parameters: int) -> None:
    with torch.device("meta"):
        config = BigGANConfig(resolution, biggan_channels(resolution, width), 1000, z_dim, attention=[attention])
        assert count_parameters(BigGAN(config)) == parameters


def test_small_biggan_counts() -> None:
    """The CIFAR-10 recipes of BigGAN-PyTorch and of StudioGAN, and the latter's cost."""
    with torch.device("meta"):
        plain = BigGAN(BigGANConfig(32, biggan_channels(32, 64), 10, 128, embed_dim=0, hierarchical=False))
        assert count_parameters(plain) == 4_304_387
        config = BigGANConfig(32, biggan_channels(32, 96), 10, 80, attention=[16])
        studio = BigGAN(config)
        assert count_parameters(studio) == 9_416_196
    # 3.83 GMAC as published, with the shortcuts' 1x1 convolutions behind the enlarging: there three quarters more of them.
    shortcuts = sum(384 * 384 * size**2 for size in (4, 8, 16))
    macs = count_macs(BigGAN(config).eval(), **BigGAN(config).sample_inputs(1))
    assert (macs + 3 * shortcuts) / 1e9 == pytest.approx(3.83, abs=0.005)


@pytest.mark.parametrize(
    ("resolution", "official", "rgb"), [(128, 50_388_609, 128), (256, 55_880_833, 128), (512, 56_163_905, 128)]
)
def test_biggan_deep_counts(resolution: int, official: int, rgb: int) -> None:
    """The released models' output convolution has 128 channels of which 3 are used."""
    with torch.device("meta"):
        config = BigGANConfig(
            resolution, biggan_deep_channels(resolution, 128), 1000, 128, attention=[64], statistics=51
        )
        network = BigGANDeep(config)
    unused = (rgb - 3) * (128 * 9 + 1)
    assert count_parameters(network) == official - unused


def test_biggan_deep_macs() -> None:
    """8.96 GMAC of the 128 px model with the output convolution trimmed."""
    network = BigGANDeep(BigGANConfig(128, biggan_deep_channels(128, 128), 1000, 128, attention=[64])).eval()
    assert count_parameters(network) == 50_244_484
    assert count_macs(network, **network.sample_inputs(1)) / 1e9 == pytest.approx(8.96, abs=0.005)


@pytest.mark.parametrize(
    ("channels", "depthwise", "parameters", "gmacs"),
    [(TINY, True, 3_070_659, 0.429), (TINY, False, 9_329_283, 2.28), ([2 * c for c in TINY], True, 8_456_579, 1.63)],
)
def test_tinygan_counts(channels: list[int], depthwise: bool, parameters: int, gmacs: float) -> None:
    network = TinyGAN(TinyGANConfig(128, channels, 1000, [128], depthwise=depthwise)).eval()
    assert count_parameters(network) == parameters
    # As published, with the shortcuts' 1x1 convolutions behind the enlarging: there three quarters more of them.
    pairs = zip(channels, channels[1:], (4, 8, 16, 32, 64), strict=False)
    shortcuts = sum(a * b * size**2 for a, b, size in pairs)
    macs = count_macs(network, **network.sample_inputs(1))
    assert (macs + 3 * shortcuts) / 1e9 == pytest.approx(gmacs, abs=0.006)


def test_distylegan_and_critic_counts() -> None:
    student = DiStyleGAN(DiStyleGANConfig(32, [256, 128, 64, 32], 10)).eval()
    assert count_parameters(student) == 2_054_368
    assert count_macs(student, **student.sample_inputs(1)) / 1e9 == pytest.approx(0.115, abs=0.0005)
    assert count_parameters(DiStyleCritic(DiStyleCriticConfig(32, [128, 128, 256, 512], 10))) == 3_415_178
    critic = ProjectionDiscriminator(ProjectionDiscriminatorConfig(128, [32, 64, 128, 256, 512], 1000))
    assert count_parameters(critic) == 3_300_321
    with torch.device("meta"):
        channels = [96 * m for m in (1, 2, 4, 8, 16, 16)]
        residual = ResNetDiscriminator(ResNetDiscriminatorConfig(128, channels, 1000, halvings=5, attention=[64]))
    assert count_parameters(residual) == 87_982_370


def test_conditional_stylegan2_ada_counts() -> None:
    """The official CIFAR-10 model."""
    config = StyleGAN2Config(32, channel_list(32), mapping_layers=2, label_dim=10)
    assert count_parameters(StyleGAN2(config)) == 20_215_315


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_classes_are_numbers_or_weights(kind: str) -> None:
    network = conditional(kind)
    z, label = torch.randn(4, 6), torch.tensor([0, 3, 4, 1])
    by_number = network(z, label)
    assert by_number.shape == (4, *network.image_shape)
    torch.testing.assert_close(network(z, nn.functional.one_hot(label, 5).float()), by_number, atol=1e-6, rtol=1e-5)
    blend = network(z, torch.full((4, 5), 0.2))
    assert float((blend - by_number).abs().mean()) > 1e-4
    with pytest.raises(ValueError, match="label is missing"):
        network(z)
    with pytest.raises(ValueError, match=r"label has shape \[4, 3\]"):
        network(z, torch.ones(4, 3))
    with pytest.raises(ValueError, match=r"label has shape \[4\]"):
        network(z, label.float())
    assert torch.equal(network(z, label.int()), by_number)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_class_latent_and_truncation_all_matter(kind: str) -> None:
    network = conditional(kind)
    inputs = network.sample_inputs(3, torch.Generator().manual_seed(1))
    assert inputs["z"].shape == (3, 6)
    assert int(inputs["label"].max()) < network.num_classes == 5
    base = network(**inputs)
    others = (
        network(inputs["z"], (inputs["label"] + 1) % 5),
        network(inputs["z"] + 0.5, inputs["label"]),
        network(**inputs, truncation=0.5),
    )
    for other in others:
        assert float((other - base).abs().amax((1, 2, 3)).min()) > 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_read_back(kind: str, tmp_path: Path) -> None:
    network = conditional(kind)
    network.save_pretrained(tmp_path)
    again = load_network(tmp_path, ImageGenerator)
    assert again.latent == network.latent
    inputs = network.sample_inputs(2)
    assert torch.equal(again(**inputs), network(**inputs))


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("biggan", {"channels": [16]}, "channels has 1 entries; 16 px needs 3"),
        ("biggan", {"channels": [16, 0, 8]}, "every entry must be at least 1"),
        ("biggan", {"z_dim": 7}, "z_dim=7: does not divide into 3 pieces"),
        ("biggan", {"norm_eps": -1.0}, "cannot be negative"),
        ("biggan-deep", {"embed_dim": -1}, "cannot be negative"),
        ("tinygan", {"num_classes": 0}, "num_classes=0: must be at least 1"),
        ("distylegan", {"resolution": 12}, "resolution=12: must be a power of two, at least 8"),
    ],
)
def test_a_config_that_fits_no_network(kind: str, changes: dict[str, object], message: str, tmp_path: Path) -> None:
    conditional(kind).save_pretrained(tmp_path)
    tree = json.loads((tmp_path / "config.json").read_text())
    tree["config"] |= changes
    (tmp_path / "config.json").write_text(json.dumps(tree))
    with pytest.raises(UserError, match=rf"config\.json: config.*{message}") as caught:
        load_network(tmp_path, ImageGenerator)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("channels", [[], [8, 0], [8] * 6])
def test_critics_that_cannot_be_built(channels: list[int]) -> None:
    for config in (ProjectionDiscriminatorConfig, DiStyleCriticConfig):
        with pytest.raises(ValueError, match="channels"):
            config(32, channels, 5)
        with pytest.raises(ValueError, match="num_classes=0"):
            config(32, [8], 0)


def test_statistics_of_several_truncations_do_not_train() -> None:
    norm = BatchNorm(4, rows=3)
    with pytest.raises(RuntimeError, match="does not train"):
        norm(torch.randn(2, 4, 3, 3), StatisticsRow(1, 1))


@torch.no_grad()
def test_every_z_piece_enters_its_own_block() -> None:
    network = conditional("biggan")
    z, label = torch.randn(1, 6), torch.tensor([2])
    seen: list[torch.Tensor] = []
    hooks = [b.register_forward_hook(lambda m, i, out: seen.append(out)) for b in network.blocks]  # type: ignore[union-attr]
    network(z, label)
    changed = z.clone()
    changed[:, 2:4] += 1.0  # the piece of the first block
    network(changed, label)
    last = z.clone()
    last[:, 4:] += 1.0  # of the second
    network(last, label)
    for hook in hooks:
        hook.remove()
    assert not torch.equal(seen[0], seen[2])
    assert torch.equal(seen[0], seen[4])
    assert not torch.equal(seen[1], seen[5])


def test_skip_z_and_class_at_stem() -> None:
    z, label = torch.randn(2, 6), torch.tensor([0, 1])
    for option in ("skip_z", "class_at_stem"):
        torch.manual_seed(0)
        network = TinyGAN(TinyGANConfig(16, [12, 8, 8], 5, [6], embed_dim=4, **{option: True}))
        plain = TinyGAN(TinyGANConfig(16, [12, 8, 8], 5, [6], embed_dim=4))
        assert count_parameters(network) > count_parameters(plain)
        assert network.eval()(z, label).shape == (2, 3, 16, 16)


@torch.no_grad()
def test_a_latent_may_be_an_image() -> None:
    """As diffusion samplers have it; each tile of the noise reaches its own corner of the stem."""
    network = TinyGAN(TinyGANConfig(16, [12, 8, 8], 5, [3, 16, 16])).eval()
    z = network.sample_inputs(2)["z"]
    assert z.shape == (2, 3, 16, 16)
    assert network(z, torch.tensor([0, 1])).shape == (2, 3, 16, 16)
    moved = z.clone()
    moved[:, :, :4, :4] += 1
    difference = (network.stem(moved) - network.stem(z)).abs().sum(1)
    assert float(difference[:, 0, 0].min()) > 0
    assert float(difference[:, 1:, 1:].max()) == 0
    with pytest.raises(ValueError, match="an image latent must be 16 px wide"):
        TinyGANConfig(16, [12, 8, 8], 5, [3, 8, 8])


def test_a_new_student_starts_with_gain_1_and_offset_0_for_every_class() -> None:
    network = TinyGAN(TinyGANConfig(16, [12, 8, 8], 5, [6]))
    norm = network.blocks[0].norm1  # type: ignore[union-attr]
    assert isinstance(norm, ConditionalBatchNorm)
    condition = network.embedding(torch.arange(5))
    assert not norm.gain(condition).any()
    assert not norm.offset(condition).any()


@pytest.mark.parametrize(
    ("truncation", "low", "high", "share"),
    [(1.0, 50, 50, 0), (0.5, 25, 25, 0), (0.14, 7, 7, 0), (0.58, 29, 29, 0), (0.94, 47, 47, 0), (0.505, 25, 26, 0.25)],
)
def test_statistics_rows(truncation: float, low: int, high: int, share: float) -> None:
    config = BigGANConfig(8, [8, 8, 8], 2, z_dim=4, embed_dim=4, statistics=51)
    row = BigGANDeep(config).statistics_row(truncation)
    assert (row.low, row.high) == (low, high)
    assert row.share == pytest.approx(share)
    rows = torch.arange(51.0)[:, None]
    assert float(row.pick(rows)) == pytest.approx(truncation * 50, abs=1e-4)


@pytest.mark.parametrize("truncation", [0.0, -0.5, 1.02])
def test_truncations_without_statistics(truncation: float) -> None:
    network = BigGANDeep(BigGANConfig(8, [8, 8, 8], 2, z_dim=4, embed_dim=4, statistics=51)).eval()
    with pytest.raises(ValueError, match="statistics for truncations above 0 and up to 1"):
        network(torch.randn(1, 4), torch.tensor([0]), truncation=truncation)
    single = conditional("biggan")
    single.check_truncation(1.5)


def test_conditional_normalisation_by_hand() -> None:
    norm = ConditionalBatchNorm(2, 3, eps=1e-12)
    x = torch.randn(8, 2, 4, 4) * 3 + 1
    condition = torch.randn(8, 3)
    y = norm.train()(x, condition, StatisticsRow())
    mean, deviation = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False).sqrt()
    expected = (x - mean[:, None, None]) / deviation[:, None, None]
    expected = expected * (1 + norm.gain(condition))[:, :, None, None] + norm.offset(condition)[:, :, None, None]
    torch.testing.assert_close(y, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(norm.norm.running_mean[0], 0.1 * mean)
    norm.norm.running_mean[0], norm.norm.running_var[0] = mean, deviation**2
    torch.testing.assert_close(norm.eval()(x, condition, StatisticsRow()), expected, atol=1e-5, rtol=1e-4)


def test_attention_by_hand() -> None:
    torch.manual_seed(0)
    layer = Attention(8)
    nn.init.constant_(layer.gamma, 0.7)
    x = torch.randn(2, 8, 4, 4)
    theta, phi, g = (f(x) for f in (layer.theta, layer.phi, layer.g))
    phi, g = (nn.functional.max_pool2d(t, 2).flatten(2) for t in (phi, g))
    expected = torch.zeros_like(x)
    for n in range(2):
        for i in range(4):
            for j in range(4):
                weights = torch.softmax((theta[n, :, i, j, None] * phi[n]).sum(0), 0)
                seen = (g[n] * weights).sum(1)
                expected[n, :, i, j] = x[n, :, i, j] + 0.7 * (layer.o.weight[:, :, 0, 0] @ seen)
    torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_baking_spectral_norm_keeps_the_function_and_the_plain_names() -> None:
    critic = ProjectionDiscriminator(ProjectionDiscriminatorConfig(16, [8, 8], 5))
    names = set(critic.state_dict())
    normalised = add_spectral_norm(critic, embeddings=True)
    image, label = torch.randn(3, 3, 16, 16), torch.tensor([0, 1, 4])
    for _ in range(20):
        normalised(image, label)  # power iterations
    plain = baked(normalised)
    assert set(plain.state_dict()) == names
    torch.testing.assert_close(plain(image, label)[0], normalised.eval()(image, label)[0])
    for module in plain.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.Embedding):
            largest = torch.linalg.svdvals(module.weight.flatten(1))[0]
            assert float(largest) == pytest.approx(1, abs=0.02)


def test_some_layers_are_left_out_of_spectral_norm() -> None:
    critic = add_spectral_norm(DiStyleCritic(DiStyleCriticConfig(16, [8, 8], 5)))
    state = set(critic.state_dict())
    assert "output.weight" in state
    assert "project.weight" not in state


def test_moments_over_processes_of_a_channel_that_hardly_varies(monkeypatch: pytest.MonkeyPatch) -> None:
    """As E y² - (E y)² the variance would be negative in float32."""
    monkeypatch.setattr(
        "torch.distributed.nn.functional.all_reduce", lambda x: 2 * x
    )  # two processes with the same share
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    torch.manual_seed(0)
    x = 30 + 1e-4 * torch.randn(8, 4, 4, 4)
    norm = BatchNorm(4)
    found = norm._over_processes(x)
    assert bool(torch.isfinite(found).all())
    assert bool((norm.running_var >= 0).all())
    # Tolerance: a float32 step at 30 is 2e-6, √(σ² + ε) about 3e-3.
    expected = (x - x.double().mean((0, 2, 3), keepdim=True)) / (
        1e-5 + x.double().var((0, 2, 3), False, keepdim=True)
    ).sqrt()
    torch.testing.assert_close(found.double(), expected, atol=5e-3, rtol=0)


def test_orthogonal_init() -> None:
    network = BigGAN(BigGANConfig(8, [8, 8], 2, z_dim=4, embed_dim=4))
    orthogonal_init(network)
    weight = network.blocks[0].conv1.weight.flatten(1)  # type: ignore[union-attr]
    torch.testing.assert_close(weight @ weight.t(), torch.eye(8), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BigGAN(BigGANConfig(32, [8, 8], 2, z_dim=4)), "channels has 2 entries; 32 px needs 4"),
        (lambda: BigGAN(BigGANConfig(16, [8, 8, 8], 2, z_dim=4)), "does not divide into 3 pieces"),
        (lambda: BigGANConfig(24, [8], 2), "power of two"),
        (lambda: BigGANConfig(16, [8, 8, 8], 2, attention=[32]), "no block ends at 32 px"),
        (lambda: BigGANConfig(16, [8, 8, 8], 0), "num_classes=0"),
        (lambda: TinyGANConfig(32, [8, 8], 2, [4]), "channels has 2 entries; 32 px needs 4"),
        (lambda: TinyGANConfig(16, [8, 8, 8], 2, [4, 4]), r"shape=\[4, 4\]: a latent is a vector"),
        (lambda: DiStyleGANConfig(32, [8, 8], 2), "channels has 2 entries"),
        (lambda: ProjectionDiscriminatorConfig(8, [8] * 4, 2), "cannot be halved so often"),
        (lambda: ResNetDiscriminatorConfig(8, [8] * 2, 2, halvings=3), "halvings=3"),
        (lambda: ResNetDiscriminatorConfig(8, [8] * 4, 2, halvings=4), "8 px cannot be halved 4 times"),
        (lambda: ResNetDiscriminatorConfig(32, [8] * 2, 2, halvings=2, attention=[4]), "end at 16, 8 px"),
    ],
)
def test_configs_that_cannot_be(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]
