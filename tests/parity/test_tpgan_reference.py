"""Our pathways and critic against digits of the published port of TP-GAN (float32, CPU).

The digits were made by running the MIT-licensed `iwtw/pytorch-TP-GAN` at an eighth of its widths (its hard-coded ones replaced) on
tensors filled by the formula of `filled.py`; no code of it is here. Its fused features are those before the last block, ours those
after it, so the global pathway is given features directly. Tolerance: 1e-5 of the largest value, as sums over thousands of float32
products are made in another order.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
from torch import Tensor

from distilgan.networks.tpgan import tpgan_config
from distilgan.networks.tpgan_discriminator import TPGANDiscriminator, TPGANDiscriminatorConfig, discriminator_widths
from distilgan.networks.tpgan_pathways import GlobalPathway, LocalPathway
from tests.parity.filled import fill_by_shape, latents, pictures

DIGITS = json.loads((Path(__file__).parent / "tpgan_reference.json").read_text())
SIZES = {"8": 0, "16": 1, "32": 2, "64": 3, "128": 4}
C = tpgan_config(128, 1 / 8, 1 / 8, fused=8, z_dim=8)


def ours(name: str) -> str:
    """A parameter's name there -> here."""
    rules = [
        (r"\.?layers\.([01])\.\d\.", lambda m: f".{'first' if m[1] == '0' else 'second'}."),
        (r"^before_select_(\d+)", lambda m: f"select.{SIZES[m[1]]}"),
        (r"^reconstruct_deconv_(\d+)\.0", lambda m: f"enlarge.{SIZES[m[1]] - 1}.convolution"),
        (r"^reconstruct_(\d+)", lambda m: f"rebuild.{SIZES[m[1]]}"),
        (r"^initial_(\d+)\.0", lambda m: {"8": "start16", "32": "start4", "64": "start2", "128": "start1"}[m[1]] + ".convolution"),
        (r"^decoded_img(\d+)\.0", lambda m: {"32": "to_rgb4", "64": "to_rgb2", "128": "to_rgb"}[m[1]]),
        (r"^fc1", lambda m: "to_code"),
        (r"^conv5\.", lambda m: "last."),
        (r"^conv6\.", lambda m: "last.2."),
        (r"^deconv(\d)\.0", lambda m: f"enlarge.{m[1]}.convolution"),
        (r"^after_select(\d)", lambda m: f"decode.{m[1]}"),
        (r"^local_img\.0", lambda m: "to_rgb"),
        (r"^model\.7\.0", lambda m: "layers.7"),
        (r"^model\.", lambda m: "layers."),
    ]  # fmt: skip
    for pattern, new in rules:
        name = re.sub(pattern, new, name)
    return name


def load(network: torch.nn.Module, case: str) -> None:
    network.load_state_dict({ours(k): v for k, v in fill_by_shape(DIGITS[case]["shapes"]).items()})
    network.eval()


def assert_digits(found: Tensor, case: str, name: str) -> None:
    expected = torch.tensor(DIGITS[case][name])
    torch.testing.assert_close(found.flatten(), expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def faces(n: int, size: int) -> Tensor:
    return pictures(n, size).float() / 127.5 - 1


@torch.no_grad()
def test_the_local_pathway() -> None:
    network = LocalPathway(C.local_encoder, C.local_decoder, C.fused)
    load(network, "local")
    out = network(faces(2, 48)[:, :, :32])
    assert_digits(out.image[:, :, ::5, ::7], "local", "image")
    assert_digits(network.conv3(out.features["conv2"])[:, :, ::5, ::7], "local", "conv3")
    assert_digits(out.fused[:, :, ::5, ::7], "local", "refined")


@torch.no_grad()
def test_the_global_pathway() -> None:
    network = GlobalPathway(128, C.encoder, C.start, C.decoder, C.last, C.fused, C.code, C.z_dim)
    load(network, "global")
    image = faces(2, 128)
    features = torch.relu(latents(2, 8 * 128 * 128).reshape(2, 8, 128, 128))
    out = network(image, features, image.flip(-1), latents(2, 8))
    for name in ("image", "half", "quarter"):
        assert_digits(getattr(out, name)[:, :, ::9, ::11], "global", name)
    assert_digits(out.code.flatten()[::3], "global", "code")


@torch.no_grad()
def test_the_critic() -> None:
    network = TPGANDiscriminator(TPGANDiscriminatorConfig(128, discriminator_widths(1 / 8)))
    load(network, "critic")
    assert_digits(network(faces(2, 128)), "critic", "scores")
