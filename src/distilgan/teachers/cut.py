"""CUT's, FastCUT's, CycleGAN's and Scenimefy's generators: the names are ours already, the architecture is read from the shapes."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from distilgan.errors import UserError
from distilgan.networks.resnet_translator import CUTTranslator, ResnetConfig
from distilgan.teachers.layout import Tensors, read_state

_ENDINGS = (".pth", ".pt", ".bin", ".safetensors")


def is_checkpoint(path: Path) -> bool:
    """Whether `path` is named like a file of weights."""
    return path.is_file() and path.suffix.lower() in _ENDINGS


def read_translator(path: Path) -> CUTTranslator:
    """The generator in a .pth of the official codes (`latest_net_G.pth`, `Shinkai_net_G.pth`), without executing code from it.

    Raises:
        UserError: not such a file.
    """
    try:
        return from_cut(Tensors(read_state(path), path))
    except (ValueError, RuntimeError) as error:
        why = " ".join(str(error).split())[:160]
        raise UserError(f"{path}: the checkpoint's tensors contradict each other ({why})") from error


def from_cut(tensors: Tensors) -> CUTTranslator:
    """The official PyTorch names; blurs are recognised by their stored filters, dropout by a gap in the numbering."""
    blocks = sorted({int(m[1]) for name in tensors if (m := re.match(r"model\.(\d+)\.conv_block\.", name))})
    filters = [int(m[1]) for name in tensors if (m := re.fullmatch(r"model\.(\d+)\.filt", name))]
    if not blocks:
        tensors.shape("model.12.conv_block.1.weight")  # says that it is missing
    outer = sorted(int(m[1]) for name in tensors if (m := re.fullmatch(r"model\.(\d+)\.weight", name)))
    channels = [tensors.shape(f"model.{i}.weight")[0] for i in outer if i < blocks[0]]
    config = ResnetConfig(
        channels,
        len(blocks),
        antialias=any(i < blocks[0] for i in filters),
        antialias_up=any(i > blocks[-1] for i in filters),
    )
    network = CUTTranslator(config)
    state: dict[str, Tensor] = {}
    for name in network.state_dict():
        dropped = name.replace("conv_block.5.", "conv_block.6.")
        state[name] = tensors.take(dropped if dropped in tensors and name not in tensors else name)
    tensors.check_all_read()
    for name, value in network.state_dict().items():
        if name.endswith(".filt") and not torch.allclose(value, state[name], atol=1e-5):
            raise ValueError(f"{name} is another filter than the official one")
    network.load_state_dict(state)
    return network.eval()
