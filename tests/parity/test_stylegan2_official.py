"""Our StyleGAN2 against digits of the official PyTorch code (its `networks_stylegan2.py`, float32, CPU).

The digits were made by running that code on weights filled by the formula of `filled.py`; no code or weight of it is here.
Tolerance 2e-4 on images whose largest value is about 14: the order of float32 sums differs (activations are modulated
instead of weights, gains are folded), which moved no value by more than 4e-5 when this was written.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from distilgan.networks.stylegan2 import StyleGAN2, StyleGAN2Config, channel_list
from distilgan.networks.stylegan2_discriminator import Discriminator, DiscriminatorConfig, discriminator_channels
from tests.parity.filled import fill, latents

DIGITS = json.loads((Path(__file__).parent / "stylegan2_official.json").read_text())
CASES = {"unconditional": 0, "conditional": 3}


def networks(classes: int) -> tuple[StyleGAN2, Discriminator]:
    generator = StyleGAN2(StyleGAN2Config(32, channel_list(32, 512, 40), z_dim=24, w_dim=32, label_dim=classes)).eval()
    discriminator = Discriminator(DiscriminatorConfig(32, discriminator_channels(32, 512, 40), classes)).eval()
    generator.load_state_dict(fill(generator.state_dict()))
    discriminator.load_state_dict(fill(discriminator.state_dict()))
    return generator, discriminator


def picked(images: Tensor) -> Tensor:
    return images[:, :, ::11, ::13].flatten()


@pytest.mark.parametrize("case", CASES)
def test_state_dict_has_the_official_names(case: str) -> None:
    generator, discriminator = networks(CASES[case])
    assert sorted(generator.state_dict()) == DIGITS[case]["keys_generator"]
    assert sorted(discriminator.state_dict()) == DIGITS[case]["keys_discriminator"]


@pytest.mark.parametrize("form", ["activations", "weights"])
@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_same_digits(case: str, form: str) -> None:
    classes = CASES[case]
    generator, discriminator = networks(classes)
    generator.modulation = form  # type: ignore[assignment]
    z = latents(4, 24)
    label = torch.eye(3)[torch.tensor([0, 1, 2, 0])] if classes else None
    expected = {k: torch.tensor(v) for k, v in DIGITS[case].items() if not k.startswith("keys")}

    image = generator(z, label)
    torch.testing.assert_close(picked(image), expected["image"], atol=2e-4, rtol=0)
    torch.testing.assert_close(picked(generator(z, label, noise="none")), expected["no_noise"], atol=2e-4, rtol=0)
    drawn = generator(z, label, truncation=0.6, truncation_cutoff=3)
    torch.testing.assert_close(picked(drawn), expected["truncated"], atol=2e-4, rtol=0)
    scores = discriminator(latents(4, 3 * 32 * 32).reshape(4, 3, 32, 32), label)
    torch.testing.assert_close(scores.flatten(), expected["scores"], atol=2e-4, rtol=1e-5)
