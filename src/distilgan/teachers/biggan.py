"""BigGAN checkpoints of three projects, into our BigGAN and BigGAN-deep.

- `huggingface`: pytorch-pretrained-BigGAN, BigGAN-deep as DeepMind released it, statistics for 51 truncations;
- `ajbrock`: BigGAN-PyTorch, BigGAN and BigGAN-deep;
- `studiogan`: PyTorch-StudioGAN, BigGAN.

The architecture is read from the tensors' shapes. Spectral normalisation is baked in.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from distilgan.errors import UserError
from distilgan.networks.biggan import BigGAN, BigGANConfig, BigGANDeep
from distilgan.networks.conditional import STEM
from distilgan.networks.generator import ImageGenerator
from distilgan.teachers.layout import Tensors

State = dict[str, Tensor]
_ATTENTION = ("theta", "phi", "g", "o")


def _numbered(tensors: Tensors, pattern: str) -> list[int]:
    """The numbers that match the group of `pattern` in any name, rising."""
    return sorted({int(m[1]) for name in tensors if (m := re.match(pattern, name))})


# -- Hugging Face -----------------------------------------------------------------------------------------------------


def from_huggingface(tensors: Tensors, eps: float = 1e-4, layers: object = None) -> ImageGenerator:
    """pytorch-pretrained-BigGAN. Its condition is (z, class), its stem (height, width, channel): both reordered.

    Args:
        layers: of its config.json, [enlarges?, ...] for each block; None: that of the released models.
    """
    classes = tensors.take("embeddings.weight").t()  # [num_classes, D]; there a Linear on one-hot
    z_dim = tensors.shape("generator.gen_z.weight_orig")[1] - classes.shape[1]
    numbers = _numbered(tensors, r"generator\.layers\.(\d+)\.")
    attention = [i for i in numbers if f"generator.layers.{i}.gamma" in tensors]
    blocks = [f"generator.layers.{i}" for i in numbers if i not in attention]
    released = [[bool(i % 2)] for i in range(len(blocks))]
    found = [row[:1] if isinstance(row, list) else row for row in layers] if isinstance(layers, list) else layers
    if found is not None and found != released:
        raise UserError("config.json: layers: only BigGAN-deep is read, of whose blocks every second one enlarges")
    if any(i == 0 or i % 2 for i in attention):
        raise UserError(f"self-attention is in front of block {attention}; it must be behind a block that enlarges")
    channels = [tensors.shape(f"{b}.conv_0.weight_orig")[1] for b in blocks]
    channels.append(tensors.shape(f"{blocks[-1]}.conv_3.weight_orig")[0])
    rows = tensors.shape("generator.bn.running_means")[0]

    def class_first(weight: Tensor) -> Tensor:
        return torch.cat([weight[:, z_dim:], weight[:, :z_dim]], dim=1)

    stem = class_first(tensors.normalised("generator.gen_z"))
    bias = tensors.take("generator.gen_z.bias")
    new: State = {
        "shared.weight": classes,
        "stem.weight": stem.reshape(STEM, STEM, channels[0], -1).permute(2, 0, 1, 3).flatten(0, 2),
        "stem.bias": bias.reshape(STEM, STEM, channels[0]).permute(2, 0, 1).flatten(),
    }
    for i, block in enumerate(blocks):
        for k in range(4):
            norm = f"blocks.{i}.norm{k + 1}"
            new[f"{norm}.gain.weight"] = class_first(tensors.normalised(f"{block}.bn_{k}.scale"))
            new[f"{norm}.offset.weight"] = class_first(tensors.normalised(f"{block}.bn_{k}.offset"))
            new[f"{norm}.norm.running_mean"] = tensors.take(f"{block}.bn_{k}.running_means")
            new[f"{norm}.norm.running_var"] = tensors.take(f"{block}.bn_{k}.running_vars")
            new[f"blocks.{i}.conv{k + 1}.weight"] = tensors.normalised(f"{block}.conv_{k}")
            new[f"blocks.{i}.conv{k + 1}.bias"] = tensors.take(f"{block}.conv_{k}.bias")
    sizes = []
    for i in attention:
        size = STEM * 2 ** (i // 2)  # a layer before block i; every second block doubles the size
        sizes.append(size)
        for part in _ATTENTION:
            theirs = "o_conv" if part == "o" else part
            new[f"attention.{size}.{part}.weight"] = tensors.normalised(f"generator.layers.{i}.snconv1x1_{theirs}")
        new[f"attention.{size}.gamma"] = tensors.take(f"generator.layers.{i}.gamma").reshape([])
    new |= {
        "output_norm.gain": tensors.take("generator.bn.weight"),
        "output_norm.offset": tensors.take("generator.bn.bias"),
        "output_norm.norm.running_mean": tensors.take("generator.bn.running_means"),
        "output_norm.norm.running_var": tensors.take("generator.bn.running_vars"),
        # Of its output channels three are used; the norm is that of all.
        "to_rgb.weight": tensors.normalised("generator.conv_to_rgb")[:3],
        "to_rgb.bias": tensors.take("generator.conv_to_rgb.bias")[:3],
    }
    return _loaded(
        BigGANDeep,
        new,
        tensors,
        resolution=STEM * 2 ** (len(blocks) // 2),
        channels=channels,
        num_classes=len(classes),
        z_dim=z_dim,
        embed_dim=classes.shape[1],
        attention=sizes,
        norm_eps=eps,
        output_norm_eps=eps,
        latent="truncated_normal",
        statistics=rows,
    )


# -- ajbrock ----------------------------------------------------------------------------------------------------------


def from_ajbrock(tensors: Tensors, eps: float = 1e-5) -> ImageGenerator:
    """BigGAN-PyTorch. Its last normalisation has ε = 1e-5 whatever that of the others."""
    count = len(_numbered(tensors, r"blocks\.(\d+)\.0\."))
    deep = "blocks.0.0.conv4.weight" in tensors
    last = "conv4" if deep else "conv2"
    widths = [tensors.shape(f"blocks.{i}.0.{last}.weight")[0] for i in range(count)]
    stem_rows, stem_inputs = tensors.shape("linear.weight")
    channels = [stem_rows // STEM**2, *widths]
    shared = "shared.weight" in tensors
    condition = tensors.shape("blocks.0.0.bn1.gain.weight")
    num_classes, embed = tensors.shape("shared.weight") if shared else (condition[0], 0)
    piece = condition[1] - embed if shared else 0
    pieces = 1 if deep or not piece else count + 1

    new: State = {"stem.weight": tensors.stepped("linear"), "stem.bias": tensors.take("linear.bias")}
    if shared:
        new["shared.weight"] = tensors.take("shared.weight")
    sizes = []
    for i in range(count):
        for k in range(1, 5 if deep else 3):
            theirs, ours = f"blocks.{i}.0.bn{k}", f"blocks.{i}.norm{k}"
            new[f"{ours}.gain.weight"] = tensors.stepped(f"{theirs}.gain")
            new[f"{ours}.offset.weight"] = tensors.stepped(f"{theirs}.bias")
            new |= _stored_moments(tensors, theirs, ours)
            new[f"blocks.{i}.conv{k}.weight"] = tensors.stepped(f"blocks.{i}.0.conv{k}")
            new[f"blocks.{i}.conv{k}.bias"] = tensors.take(f"blocks.{i}.0.conv{k}.bias")
        if not deep:
            new[f"blocks.{i}.shortcut.weight"] = tensors.stepped(f"blocks.{i}.0.conv_sc")
            new[f"blocks.{i}.shortcut.bias"] = tensors.take(f"blocks.{i}.0.conv_sc.bias")
        if f"blocks.{i}.1.gamma" in tensors:
            size = STEM * 2 ** ((i + 1) // 2 if deep else i + 1)
            sizes.append(size)
            for part in _ATTENTION:
                new[f"attention.{size}.{part}.weight"] = tensors.stepped(f"blocks.{i}.1.{part}")
            new[f"attention.{size}.gamma"] = tensors.take(f"blocks.{i}.1.gamma").reshape([])
    new |= {
        "output_norm.gain": tensors.take("output_layer.0.gain").flatten(),
        "output_norm.offset": tensors.take("output_layer.0.bias").flatten(),
        **_stored_moments(tensors, "output_layer.0", "output_norm"),
        "to_rgb.weight": tensors.stepped("output_layer.2"),
        "to_rgb.bias": tensors.take("output_layer.2.bias"),
    }
    tensors.skip(lambda name: name.endswith("num_batches_tracked"))
    return _loaded(
        BigGANDeep if deep else BigGAN,
        new,
        tensors,
        resolution=STEM * 2 ** (count // 2 if deep else count),
        channels=channels,
        num_classes=num_classes,
        z_dim=(stem_inputs - embed if deep else stem_inputs) * pieces,
        embed_dim=embed,
        hierarchical=deep or piece > 0,
        attention=sizes,
        norm_eps=eps,
    )


def _stored_moments(tensors: Tensors, theirs: str, ours: str) -> State:
    """Statistics of one of its three normalisations: plain, its own (sums, if they were accumulated) or synchronised.

    The synchronised one multiplies by the gain where it trains in parallel, and adds it elsewhere, also when it draws: a slip.
    We multiply, as weights trained in parallel need.
    """
    prefix, mean, var = next(
        (
            (p, f"{p}{m}", f"{p}{v}")
            for p, m, v in (
                (f"{theirs}.", "stored_mean", "stored_var"),
                (f"{theirs}.bn.", "stored_mean", "stored_var"),
                (f"{theirs}.bn.", "running_mean", "running_var"),
            )
            if f"{p}{m}" in tensors
        ),
        (theirs, f"{theirs}.stored_mean", f"{theirs}.stored_var"),
    )
    count = f"{prefix}accumulation_counter"
    sums = float(tensors.take(count)) if count in tensors else 0.0
    return {
        f"{ours}.norm.running_mean": tensors.take(mean)[None] / (sums or 1.0),
        f"{ours}.norm.running_var": tensors.take(var)[None] / (sums or 1.0),
    }


# -- StudioGAN --------------------------------------------------------------------------------------------------------


def from_studiogan(tensors: Tensors, eps: float = 1e-4) -> ImageGenerator:
    """PyTorch-StudioGAN's big_resnet. Self-attention layers are entries of their own between the blocks."""
    numbers = _numbered(tensors, r"blocks\.(\d+)\.0\.")
    attention = [i for i in numbers if f"blocks.{i}.0.sigma" in tensors]
    blocks = [i for i in numbers if i not in attention]

    def shape(layer: str) -> tuple[int, ...]:
        return tensors.shape(f"{layer}.weight_orig" if f"{layer}.weight_orig" in tensors else f"{layer}.weight")

    stem_rows, piece = shape("linear0")
    num_classes, embed = shape("shared")
    channels = [stem_rows // STEM**2, *[shape(f"blocks.{i}.0.conv2d2")[0] for i in blocks]]
    new: State = {
        "shared.weight": tensors.normalised("shared"),
        "stem.weight": tensors.normalised("linear0"),
        "stem.bias": tensors.take("linear0.bias"),
    }
    convolutions = {"conv2d1": "conv1", "conv2d2": "conv2", "conv2d0": "shortcut"}
    for ours, i in enumerate(blocks):
        for theirs, name in convolutions.items():
            new[f"blocks.{ours}.{name}.weight"] = tensors.normalised(f"blocks.{i}.0.{theirs}")
            new[f"blocks.{ours}.{name}.bias"] = tensors.take(f"blocks.{i}.0.{theirs}.bias")
        for k in (1, 2):
            bn, norm = f"blocks.{i}.0.bn{k}", f"blocks.{ours}.norm{k}"
            new[f"{norm}.gain.weight"] = tensors.normalised(f"{bn}.gain")
            new[f"{norm}.offset.weight"] = tensors.normalised(f"{bn}.bias")
            new[f"{norm}.norm.running_mean"] = tensors.take(f"{bn}.bn.running_mean")[None]
            new[f"{norm}.norm.running_var"] = tensors.take(f"{bn}.bn.running_var")[None]
    sizes = []
    for i in attention:
        size = STEM * 2 ** sum(b < i for b in blocks)
        sizes.append(size)
        for part in _ATTENTION:
            theirs = "attn" if part == "o" else part
            new[f"attention.{size}.{part}.weight"] = tensors.normalised(f"blocks.{i}.0.conv1x1_{theirs}")
        new[f"attention.{size}.gamma"] = tensors.take(f"blocks.{i}.0.sigma").reshape([])
    new |= {
        "output_norm.gain": tensors.take("bn4.weight"),
        "output_norm.offset": tensors.take("bn4.bias"),
        "output_norm.norm.running_mean": tensors.take("bn4.running_mean")[None],
        "output_norm.norm.running_var": tensors.take("bn4.running_var")[None],
        "to_rgb.weight": tensors.normalised("conv2d5"),
        "to_rgb.bias": tensors.take("conv2d5.bias"),
    }
    tensors.skip(lambda name: name.endswith("num_batches_tracked"))
    return _loaded(
        BigGAN,
        new,
        tensors,
        resolution=STEM * 2 ** len(blocks),
        channels=channels,
        num_classes=num_classes,
        z_dim=piece * (len(blocks) + 1),
        embed_dim=embed,
        attention=sizes,
        norm_eps=eps,
        output_norm_eps=eps,
    )


def _loaded(kind: type[BigGAN] | type[BigGANDeep], state: State, tensors: Tensors, **config: Any) -> ImageGenerator:
    tensors.check_all_read()
    network = kind(BigGANConfig(**config))
    network.load_state_dict({name: value.contiguous() for name, value in state.items()})
    return network.eval()
