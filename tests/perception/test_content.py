"""Features that say what a picture shows."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distilgan.errors import UserError
from distilgan.perception.content import VGG19Content, build_content

# Convolutions of torchvision's VGG19 up to conv4_4, by their number in its `features`.
NUMBERS = [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25]


def stored(path: Path) -> dict[str, Tensor]:
    """A file of torchvision's layout, cut to a few of its layers beyond."""
    torch.manual_seed(0)
    state = VGG19Content().state_dict()
    state = {name: 0.1 * torch.randn_like(value) for name, value in state.items() if name.startswith("features.")}
    state |= {"features.28.weight": torch.zeros(2), "classifier.6.bias": torch.zeros(1000)}
    torch.save(state, path)
    return state


@torch.no_grad()
def test_vgg19_is_read_by_torchvisions_names(tmp_path: Path) -> None:
    """conv4_4 before its ReLU, of pictures normalised as ImageNet's."""
    state = stored(tmp_path / "vgg.pth")
    network = build_content(f"vgg19:{tmp_path / 'vgg.pth'}")
    assert sorted({int(n.split(".")[1]) for n in state if n.startswith("features.") and "28" not in n}) == NUMBERS
    assert sum(p.numel() for p in network.parameters()) == 10_585_152
    assert not any(p.requires_grad for p in network.parameters())
    image = torch.rand(1, 3, 16, 16) * 2 - 1
    mean, deviation = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    x = ((image + 1) / 2 - mean) / deviation
    for number in NUMBERS:
        if number in (5, 10, 19):  # first of a size
            x = F.max_pool2d(x, 2)
        x = F.conv2d(x, state[f"features.{number}.weight"], state[f"features.{number}.bias"], padding=1)
        x = x if number == NUMBERS[-1] else F.relu(x)
    assert x.shape == (1, 512, 2, 2)
    assert float(x.min()) < 0
    torch.testing.assert_close(network(image), x, rtol=1e-4, atol=1e-4 * float(x.abs().max()))


def test_the_packaged_network_sees_what_is_shown() -> None:
    """Directions of length √40; differentiable; nearer for a darker picture than for another."""
    network = build_content("efficientnet-lite0")
    assert not any(p.requires_grad for p in network.parameters())
    torch.manual_seed(0)
    smooth = F.interpolate(torch.rand(2, 3, 5, 5) * 2 - 1, size=(64, 64), mode="bilinear")
    image = smooth[:1].clone().requires_grad_()
    features = network(image)
    assert features.shape == (1, 40, 8, 8)
    torch.testing.assert_close(features.norm(dim=1), torch.full((1, 8, 8), 40**0.5))
    darker, other = (network(x).detach() for x in (smooth[:1] * 0.8 - 0.1, smooth[1:]))
    assert float((darker - features.detach()).square().mean()) < float((other - features.detach()).square().mean()) / 3
    (gradient,) = torch.autograd.grad(features[0, 0].sum(), image)
    assert float(gradient.abs().max()) > 0


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    for spec, message in (
        ("vgg16", "content_network='vgg16' is unknown; known: efficientnet-lite0, vgg19:PATH"),
        (f"vgg19:{tmp_path / 'nothing'}", "nothing: no such file; vgg19:PATH takes torchvision's"),
    ):
        with pytest.raises(UserError, match=message):
            build_content(spec)
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"other\.pth: not torchvision's VGG19 weights"):
        build_content(f"vgg19:{tmp_path / 'other.pth'}")
