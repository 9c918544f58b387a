"""`distilgan convert`: a checkpoint of another project as a generator's folder."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from distilgan.errors import UserError, near_names
from distilgan.files import new_folder
from distilgan.networks.pretrained import Pretrained
from distilgan.teachers.biggan import from_ajbrock, from_huggingface, from_studiogan
from distilgan.teachers.cut import from_cut
from distilgan.teachers.layout import Tensors, read_state
from distilgan.teachers.safe_pickle import read_stylegan_pickle
from distilgan.teachers.stylegan2 import from_stylegan2

# layout -> a tensor that only it has, its reader
LAYOUTS: dict[str, tuple[str, Callable[..., Pretrained]]] = {
    "huggingface": ("generator.conv_to_rgb.bias", from_huggingface),
    "ajbrock": ("output_layer.2.weight", from_ajbrock),
    "studiogan": ("conv2d5.bias", from_studiogan),
    "stylegan2": ("synthesis.b4.const", from_stylegan2),
    "cut": ("model.1.weight", from_cut),
}


def convert(
    source: Path, out: Path, layout: str | None = None, eps: float | None = None, licence: str = ""
) -> Pretrained:
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
    path = _checkpoint(source)
    pickled = path.suffix == ".pkl"
    if pickled and layout not in (None, "stylegan2"):
        raise UserError(f"--layout {layout}: a .pkl holds a StyleGAN2; leave the option out")
    state, attributes = read_stylegan_pickle(path) if pickled else (read_state(path), {})
    tensors = Tensors(state, path)
    layout = layout or next((name for name, (mark, _) in LAYOUTS.items() if mark in tensors), None)
    if layout is None:
        first = min(tensors, default="none")
        raise UserError(f"{path}: of no known layout ({', '.join(LAYOUTS)}); its first tensor is {first}")
    if layout == "stylegan2" and eps is not None:
        raise UserError("--eps: StyleGAN2 has no batch normalisation")
    options: dict[str, Any] = {} if eps is None else {"eps": _number("--eps", eps)}
    if layout == "huggingface":
        options = {**_huggingface_options(path.parent / "config.json"), **options}
    if pickled:
        options["conv_clamp"] = _clamp(path, attributes)
    try:
        network = LAYOUTS[layout][1](tensors, **options)
    except (ValueError, RuntimeError, LookupError, TypeError) as error:
        why = " ".join(str(error).split())[:160]
        raise UserError(f"{path}: the checkpoint's tensors contradict each other ({why})") from error
    _check_values(path, network)
    with new_folder(out) as folder:
        network.save_pretrained(folder, licence=licence, converted_from=layout)
    return network


def _checkpoint(source: Path) -> Path:
    """The weight file that is meant."""
    if source.is_dir():
        found = [p for name in ("pytorch_model.bin", "G_ema.pth", "G.pth") if (p := source / name).is_file()]
        if not found:
            raise UserError(f"{source}: no pytorch_model.bin, G_ema.pth or G.pth in it; name the file")
        source = found[0]
    if not source.is_file():
        raise UserError(f"{source}: no such file")
    return source


def _huggingface_options(config: Path) -> dict[str, Any]:
    """What config.json says that the weights beside it do not."""
    try:
        tree = json.loads(config.read_text()) if config.is_file() else {}
    except ValueError as error:
        raise UserError(f"{config}: not valid JSON ({error})") from error
    tree = tree if isinstance(tree, dict) else {}
    eps = {"eps": _number(f"{config}: eps", tree["eps"])} if "eps" in tree else {}
    return {"layers": tree.get("layers"), **eps}


def _number(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise UserError(f"{key}={value!r}: must be a number, 0 or more")
    return float(value)


def _clamp(path: Path, attributes: dict[str, Any]) -> float | None:
    """At what the pickled layers clip: every one has it as an attribute, wherever its network had it from."""
    found = {
        None if value is None else _number(f"{path}: {name}", value)
        for name, value in attributes.items()
        if re.fullmatch(r"synthesis\..*\.conv_clamp", name)
    }
    if len(found) != 1:
        raise UserError(f"{path}: {len(found)} values of conv_clamp in its synthesis layers; expected one in all")
    return found.pop()


def _check_values(path: Path, network: Pretrained) -> None:
    for name, value in network.state_dict().items():
        if not torch.isfinite(value).all() or (name.endswith("running_var") and (value < 0).any()):
            raise UserError(f"{path}: damaged, as its numbers give {name} that is not finite or a negative variance")
