"""`distilgan convert`: a checkpoint of another project as a generator's folder."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from distilgan.errors import UserError, near_names
from distilgan.files import new_folder
from distilgan.networks.generator import ImageGenerator
from distilgan.teachers.biggan import from_ajbrock, from_huggingface, from_studiogan
from distilgan.teachers.layout import Tensors
from distilgan.teachers.safe_pickle import read_stylegan_pickle
from distilgan.teachers.stylegan2 import from_stylegan2

# layout -> a tensor that only it has, its reader
LAYOUTS: dict[str, tuple[str, Callable[..., ImageGenerator]]] = {
    "huggingface": ("generator.conv_to_rgb.bias", from_huggingface),
    "ajbrock": ("output_layer.2.weight", from_ajbrock),
    "studiogan": ("conv2d5.bias", from_studiogan),
    "stylegan2": ("synthesis.b4.const", from_stylegan2),
}


def convert(
    source: Path, out: Path, layout: str | None = None, eps: float | None = None, licence: str = ""
) -> ImageGenerator:
    """Read the checkpoint `source` (a file, or a folder that holds one) and write the generator's folder `out`.

    Args:
        layout: of `LAYOUTS`; None recognises it.
        eps: ε of the normalisations of a BigGAN, which its weights do not tell; None: that of the project's released models.
        licence: terms of the weights, recorded.

    Raises:
        UserError: no such file, not a state dict, of no known layout, tensors missing or left over, or `out` exists.
    """
    if out.exists():
        raise UserError(f"{out}: exists already; choose another folder")
    if layout is not None and layout not in LAYOUTS:
        raise UserError(f"--layout {layout}: unknown{near_names(layout, LAYOUTS)}")
    path, config = _checkpoint(source)
    options: dict[str, Any] = {}
    if path.suffix == ".pkl":
        state, arguments = read_stylegan_pickle(path)
        options["conv_clamp"] = (arguments.get("synthesis_kwargs") or {}).get("conv_clamp")
    else:
        state = read_state(path)
    tensors = Tensors(state, path)
    layout = layout or next((name for name, (mark, _) in LAYOUTS.items() if mark in tensors), None)
    if layout is None:
        raise UserError(f"{path}: of no known layout ({', '.join(LAYOUTS)}); its first tensor is {min(tensors)}")
    if layout == "stylegan2":
        if eps is not None:
            raise UserError("--eps: StyleGAN2 has no batch normalisation")
    elif eps is not None or "eps" in config:
        options["eps"] = float(config["eps"] if eps is None else eps)
    if layout == "huggingface":
        options["layers"] = config.get("layers")
    network = LAYOUTS[layout][1](tensors, **options)
    with new_folder(out) as folder:
        network.save_pretrained(folder, licence=licence, converted_from=layout)
    return network


def _checkpoint(source: Path) -> tuple[Path, dict[str, Any]]:
    """The weight file, and config.json beside it."""
    if source.is_dir():
        found = [p for name in ("pytorch_model.bin", "G_ema.pth", "G.pth") if (p := source / name).is_file()]
        if not found:
            raise UserError(f"{source}: no pytorch_model.bin, G_ema.pth or G.pth in it; name the file")
        source = found[0]
    if not source.is_file():
        raise UserError(f"{source}: no such file")
    config = source.parent / "config.json"
    try:
        tree = json.loads(config.read_text()) if config.is_file() else {}
    except ValueError as error:
        raise UserError(f"{config}: not valid JSON ({error})") from error
    return source, tree if isinstance(tree, dict) else {}


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file or of one that torch.save wrote, without executing code from it.

    Raises:
        UserError: not such a file, or one that holds anything but tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        tree = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise UserError(f"{path}: damaged or cut short ({error}); fetch it again") from error
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: holds Python objects and not only tensors; load it where it was made and save its state_dict() with "
            "torch.save (official StyleGAN pickles are read when their names end in .pkl)"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, AttributeError) as error:
        raise UserError(f"{path}: not a checkpoint, or a damaged one; fetch it again") from error
    for key in ("state_dict", "g_ema", "G_ema"):
        if isinstance(tree, dict) and isinstance(tree.get(key), dict):
            tree = tree[key]
    state = {str(name).removeprefix("module."): value for name, value in tree.items()} if isinstance(tree, dict) else {}
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(
            f"{path}: is not a state dict (names and tensors); save the generator's state_dict() with torch.save"
        )
    return state
