"""The cost of a network, from a file or by name."""

from __future__ import annotations

from typing import Any

import torch

from distilgan.data.archives import builtin_path
from distilgan.errors import UserError, near_names
from distilgan.evaluation.evaluate import measure_cost
from distilgan.evaluation.sources import Generator, OnnxFile
from distilgan.networks.generator import ImageGenerator
from distilgan.networks.slicing import thinned
from distilgan.networks.stylegan2 import StyleGAN2, StyleGAN2Config, channel_list
from distilgan.runs import load_model

_NUMBERS = {
    "resolution": 256,
    "channel_base": 32768,
    "channel_max": 512,
    "z_dim": 512,
    "w_dim": 512,
    "mapping_layers": 8,
}


def profile_target(target: str, overrides: list[str], runs: int = 20, threads: int | None = None) -> dict[str, Any]:
    """Parameters, MACs, peak activation memory and latency of a run, a folder, an ONNX file or a network by name.

    Args:
        overrides: for a network by name, `key=value` of resolution, channel_base, channel_max, keep, z_dim, w_dim,
            mapping_layers.

    Raises:
        UserError: unknown name or key.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        return measure_cost(_source(target, overrides, threads), runs)
    finally:
        torch.set_num_threads(before)


def _source(target: str, overrides: list[str], threads: int | None) -> Generator | OnnxFile:
    path = builtin_path(target)
    if target != "stylegan2" or path.exists():
        if overrides:
            raise UserError(f"{overrides[0]}: keys are for a network by name, not for {target}")
        if not path.exists():
            raise UserError(
                f"{target}: no such file or folder, and not a known network{near_names(target, ['stylegan2'])}"
            )
        return (
            OnnxFile(path, target, threads)
            if path.suffix == ".onnx"
            else Generator(load_model(target, ImageGenerator), target)
        )
    values: dict[str, float] = {**_NUMBERS, "keep": 1.0}
    for override in overrides:
        key, separator, text = override.partition("=")
        if key not in values or not separator:
            raise UserError(f"unknown key {key!r}{near_names(key, values)}")
        try:
            values[key] = float(text) if key == "keep" else int(text)
        except ValueError as error:
            raise UserError(f"{override}: expected a number") from error
        if values[key] <= 0 or (key == "keep" and values[key] > 1):
            raise UserError(f"{override}: must be above 0{' and at most 1' if key == 'keep' else ''}")
    n = {k: int(values[k]) for k in _NUMBERS}
    try:
        channels = thinned(channel_list(n["resolution"], n["channel_base"], n["channel_max"]), values["keep"])
        config = StyleGAN2Config(n["resolution"], channels, n["z_dim"], n["w_dim"], n["mapping_layers"])
    except ValueError as error:
        raise UserError(str(error)) from error
    torch.manual_seed(0)
    return Generator(StyleGAN2(config), target)
