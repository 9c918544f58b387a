"""Spectral normalisation: weights divided by their largest singular value while a network trains, plainly stored after it.

Source: Miyato et al., "Spectral Normalization for Generative Adversarial Networks", 2018, algorithm 1.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

from distilgan.networks.pretrained import Pretrained

N = TypeVar("N", bound=nn.Module)
P = TypeVar("P", bound=Pretrained)


def add_spectral_norm(network: N, eps: float = 1e-6, embeddings: bool = False) -> N:
    """Normalise the weights of all convolutions and fully connected layers, with `embeddings` of those too; in place.

    One power iteration a forward in training mode; the vectors that it keeps are buffers. Layers that the network names in
    `without_spectral_norm` are left out.
    """
    kinds = (nn.Conv2d, nn.Linear, nn.Embedding) if embeddings else (nn.Conv2d, nn.Linear)
    left_out = getattr(network, "without_spectral_norm", ())
    for name, module in list(network.named_modules()):
        if isinstance(module, kinds) and name not in left_out and not parametrize.is_parametrized(module):
            spectral_norm(module, eps=eps)
    return network


@torch.no_grad()
def baked(network: P) -> P:
    """A network of the same config in which normalised weights are ordinary ones; in eval mode."""
    training = network.training
    network.eval()  # reading a weight is no power iteration then
    plain = type(network)(network.config).to(next(network.parameters()).device)
    state = {}
    for name in plain.state_dict():
        layer, _, part = name.rpartition(".")
        state[name] = getattr(network.get_submodule(layer), part)
    plain.load_state_dict(state)
    network.train(training)
    return plain.eval()
