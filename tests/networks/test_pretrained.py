from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import distilgan
from distilgan.errors import UserError
from distilgan.networks.biggan import BigGAN, BigGANConfig
from distilgan.networks.families import load_network
from distilgan.networks.generator import ImageGenerator
from distilgan.networks.pretrained import network_sha256, weights_sha256
from distilgan.networks.stylegan2 import StyleGAN2
from distilgan.networks.stylegan2_discriminator import Discriminator
from tests.conftest import tiny_discriminator, tiny_generator


@torch.no_grad()
def test_round_trip(tmp_path: Path) -> None:
    network, critic = tiny_generator(), tiny_discriminator()
    network.save_pretrained(tmp_path, licence="ours")
    critic.save_pretrained(tmp_path)
    z = torch.randn(2, 12)
    again = distilgan.load(tmp_path)
    assert isinstance(again, StyleGAN2)
    assert not again.training
    assert torch.equal(again(z), network(z))
    assert torch.equal(Discriminator.from_pretrained(tmp_path)(network(z)), critic.eval()(network(z)))
    assert json.loads((tmp_path / "config.json").read_text())["licence"] == "ours"


@torch.no_grad()
def test_half_precision_storage(tmp_path: Path) -> None:
    network = tiny_generator()
    network.save_pretrained(tmp_path / "full")
    network.save_pretrained(tmp_path / "half", half=True)
    sizes = [(tmp_path / d / "model.safetensors").stat().st_size for d in ("full", "half")]
    assert sizes[1] < 0.7 * sizes[0]
    again = StyleGAN2.from_pretrained(tmp_path / "half")
    assert all(p.dtype == torch.float32 for p in again.parameters())
    z = torch.randn(4, 12)
    torch.testing.assert_close(again(z), network(z), atol=0.02, rtol=0.02)


def test_bad_folders_get_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not the folder of a generator \(no config\.json"):
        load_network(tmp_path, ImageGenerator)
    tiny_generator().save_pretrained(tmp_path)
    config, weights = tmp_path / "config.json", tmp_path / "model.safetensors"
    good, content = config.read_text(), weights.read_bytes()

    weights.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"model\.safetensors: damaged or cut short"):
        load_network(tmp_path, ImageGenerator)
    weights.unlink()
    with pytest.raises(UserError, match=r"model\.safetensors: cannot be read"):
        load_network(tmp_path, ImageGenerator)
    weights.write_bytes(content)

    config.write_text(good.replace('"stylegan2"', '"stylegan9"'))
    with pytest.raises(UserError, match="unknown family 'stylegan9'; did you mean stylegan2"):
        load_network(tmp_path, ImageGenerator)
    config.write_text("{")
    with pytest.raises(UserError, match=r"config\.json: not valid JSON"):
        load_network(tmp_path, ImageGenerator)
    tree = json.loads(good)
    tree["config"]["z_dim"] = "many"
    config.write_text(json.dumps(tree))
    with pytest.raises(UserError, match=r"config\.json: config\.z_dim: Input should be a valid integer"):
        load_network(tmp_path, ImageGenerator)
    for broken, line in [
        (5, "config is not a section"),
        ({**json.loads(good)["config"], "z_dim": 0}, "z_dim=0: must be at least 1"),
        ({**json.loads(good)["config"], "w_dim": -3}, "w_dim=-3: must be at least 1"),
    ]:
        config.write_text(json.dumps({**json.loads(good), "config": broken}))
        with pytest.raises(UserError, match=line):
            load_network(tmp_path, ImageGenerator)
    tree = json.loads(good)
    tree["config"]["channels"][2] += 1
    config.write_text(json.dumps(tree))
    with pytest.raises(UserError, match=r"does not fit config\.json"):
        load_network(tmp_path, ImageGenerator)
    tree["config"]["colour"] = "blue"
    config.write_text(json.dumps(tree))
    with pytest.raises(UserError, match=r"config\.json: config\.colour is unknown"):
        load_network(tmp_path, ImageGenerator)
    config.write_text(good)
    with pytest.raises(UserError, match="has no discriminator"):
        Discriminator.from_pretrained(tmp_path)


def test_a_network_is_its_config_too(tmp_path: Path) -> None:
    """The same weights with another ε draw other pictures; a folder gives back the same network."""
    config = BigGANConfig(8, [8, 8], 2, z_dim=4, embed_dim=4)
    first, other = BigGAN(config), BigGAN(replace(config, norm_eps=0.1))
    other.load_state_dict(first.state_dict())
    assert weights_sha256(first) == weights_sha256(other)
    assert network_sha256(first) != network_sha256(other)
    first.save_pretrained(tmp_path)
    assert network_sha256(load_network(tmp_path, ImageGenerator)) == network_sha256(first)
    assert network_sha256(tiny_generator(conv_clamp=64)) == network_sha256(tiny_generator(conv_clamp=64.0))


def test_weights_that_are_not_those_described(tmp_path: Path) -> None:
    """A download that was cut off and filled with zeros is a whole file of another network."""
    tiny_generator().save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
    with pytest.raises(UserError, match=r"model\.safetensors: is not the file that config\.json describes"):
        load_network(tmp_path, ImageGenerator)
    network = tiny_generator()
    with torch.no_grad():
        next(network.parameters())[0] = float("nan")
    network.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="holds numbers that are not finite"):
        load_network(tmp_path, ImageGenerator)


def test_no_pickle_is_ever_read(tmp_path: Path) -> None:
    """A student folder with a pickle in place of its weights is refused, and the pickle does not run."""
    import pickle

    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "boom",))  # type: ignore[return-value]

    tiny_generator().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UserError, match="damaged"):
        load_network(tmp_path, ImageGenerator)
    assert not (tmp_path / "boom").exists()


@torch.no_grad()
def test_no_seed_of_latents_is_special_to_the_packaged_teacher() -> None:
    """Weights that were drawn from a seed turn latents drawn from it into outliers: distances in W twice the usual."""
    teacher = distilgan.load("builtin:faces32-teacher")

    def spread(seed: int, count: int) -> float:
        z = torch.randn(count, teacher.config.z_dim, generator=torch.Generator().manual_seed(seed))
        return float((teacher(z, full=True).w[:, 0] - teacher.mapping.w_avg).norm(dim=1).mean())

    usual = spread(99, 400)
    assert all(0.7 < spread(seed, 20) / usual < 1.4 for seed in range(8))
