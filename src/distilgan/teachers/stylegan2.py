"""StyleGAN2(-ADA) state dicts: the names are ours already, the architecture is read from the shapes."""

from __future__ import annotations

import re

from distilgan.errors import UserError
from distilgan.networks.generator import ImageGenerator
from distilgan.networks.stylegan2 import StyleGAN2, StyleGAN2Config
from distilgan.teachers.layout import Tensors


def from_stylegan2(tensors: Tensors, conv_clamp: float | None = 256.0) -> ImageGenerator:
    """The official PyTorch names, unconditional or class-conditional.

    Args:
        conv_clamp: not stored in the weights; the official training sets 256.
    """
    sizes = sorted({int(m[1]) for name in tensors if (m := re.match(r"synthesis\.b(\d+)\.", name))})
    if any(".skip." in name for name in tensors):
        raise UserError("this StyleGAN2 has residual blocks in its generator; only the `skip` kind is supported")
    channels = [tensors.shape("synthesis.b4.const")[0], tensors.shape("synthesis.b4.conv1.weight")[0]]
    for size in sizes[1:]:
        channels += [tensors.shape(f"synthesis.b{size}.conv{k}.weight")[0] for k in (0, 1)]
    w_dim = tensors.shape("synthesis.b4.conv1.affine.weight")[1]
    label_dim = tensors.shape("mapping.embed.weight")[1] if "mapping.embed.weight" in tensors else 0
    layers = sum(re.fullmatch(r"mapping\.fc\d+\.weight", name) is not None for name in tensors)
    z_dim = tensors.shape("mapping.fc0.weight")[1] - (w_dim if label_dim else 0)
    config = StyleGAN2Config(sizes[-1], channels, z_dim, w_dim, layers, label_dim, conv_clamp)
    network = StyleGAN2(config)
    state = {name: tensors.take(name) for name in network.state_dict()}
    tensors.check_all_read()
    network.load_state_dict(state)
    return network.eval()
