"""The cost of a network, from a file or by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import torch

from distilgan.data.archives import builtin_path
from distilgan.errors import UserError, near_names
from distilgan.evaluation.cost import Costed, costed_network, costs
from distilgan.evaluation.evaluate import costed
from distilgan.evaluation.faces.frontalizers import OnnxFrontalizer
from distilgan.evaluation.sources import Generator, OnnxFile
from distilgan.evaluation.translation.named import translates
from distilgan.evaluation.translation.translators import open_translator
from distilgan.networks.generator import ImageGenerator
from distilgan.networks.ode_translator import ODEConfig, ODETranslator, Solver
from distilgan.networks.pretrained import Pretrained
from distilgan.networks.resnet_translator import CUTTranslator, ResnetConfig, ResnetTranslator, doubling_widths
from distilgan.networks.slicing import thinned
from distilgan.networks.stylegan2 import StyleGAN2, StyleGAN2Config, channel_list
from distilgan.networks.tpgan import PRESETS, TPGAN, tpgan_config
from distilgan.onnx_session import open_session
from distilgan.runs import load_model
from distilgan.teachers.cut import is_checkpoint

Values = dict[str, Any]


def profile_target(target: str, overrides: list[str], runs: int = 20, threads: int | None = None) -> dict[str, Any]:
    """Parameters, MACs, peak activation memory and latency of a run, a folder, an ONNX file or a network by name.

    Args:
        overrides: for a network by name, `key=value` of what `NETWORKS` lists.

    Raises:
        UserError: unknown name or key.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        return costs({target: _costed(target, overrides, threads)}, runs)[target]
    finally:
        torch.set_num_threads(before)


def _costed(target: str, overrides: list[str], threads: int | None) -> Costed:
    path = builtin_path(target)
    if target in NETWORKS and not path.exists():
        network = _by_name(target, overrides)
        return costed_network(network, network.sample_inputs(1))
    if overrides:
        raise UserError(f"{overrides[0]}: keys are for a network by name, not for {target}")
    if not path.exists():
        raise UserError(f"{target}: no such file or folder, and not a known network{near_names(target, NETWORKS)}")
    if path.suffix == ".onnx":
        if "landmarks" in {i.name for i in open_session(path).get_inputs()}:
            return OnnxFrontalizer(path, target, threads).costed()
        if translates(target):
            return open_translator(target, threads=threads).costed()
        return costed(OnnxFile(path, target, threads))
    if is_checkpoint(path):
        return open_translator(target).costed()
    network = load_model(target, Pretrained)
    if isinstance(network, ResnetTranslator):
        return open_translator(target).costed()
    if isinstance(network, ImageGenerator):
        return costed(Generator(network, target))
    return costed_network(network, network.sample_inputs(1))


def _stylegan2(v: Values) -> Pretrained:
    channels = thinned(channel_list(v["resolution"], v["channel_base"], v["channel_max"]), v["keep"])
    return StyleGAN2(StyleGAN2Config(v["resolution"], channels, v["z_dim"], v["w_dim"], v["mapping_layers"]))


def _tpgan(v: Values) -> Pretrained:
    if v["preset"] not in PRESETS:
        raise ValueError(f"preset={v['preset']}: is unknown{near_names(v['preset'], PRESETS)}")
    given = {k: v[k] for k in ("width", "local_width", "fused") if v[k] is not None}
    common = {k: v[k] for k in ("resolution", "z_dim", "identities")}
    return TPGAN(tpgan_config(**{**PRESETS[v["preset"]], **given, **common}))


def _cut(v: Values) -> Pretrained:
    return CUTTranslator(ResnetConfig(doubling_widths(v["width"]), v["blocks"], resolution=v["resolution"]))


def _ode(v: Values) -> Pretrained:
    if v["solver"] not in get_args(Solver):
        raise ValueError(f"solver={v['solver']}: is unknown{near_names(v['solver'], get_args(Solver))}")
    return ODETranslator(
        ODEConfig(
            doubling_widths(v["width"]), v["blocks"], resolution=v["resolution"], solver=v["solver"], steps=v["steps"],
            rtol=v["tolerance"], atol=v["tolerance"], depthwise=bool(v["depthwise"]), time_input=bool(v["time_input"]),
        )
    )  # fmt: skip


# Name -> the keys that it takes, with their defaults (null: as the preset has it), and what makes it of them.
NETWORKS: dict[str, tuple[Values, Callable[[Values], Pretrained]]] = {
    "stylegan2": (
        {
            "resolution": 256,
            "channel_base": 32768,
            "channel_max": 512,
            "keep": 1.0,
            "z_dim": 512,
            "w_dim": 512,
            "mapping_layers": 8,
        },
        _stylegan2,
    ),
    "tpgan": (
        {
            "preset": "teacher",
            "resolution": 128,
            "width": None,
            "local_width": None,
            "fused": None,
            "z_dim": 64,
            "identities": 347,
        },
        _tpgan,
    ),
    "cut_translator": ({"width": 64, "blocks": 9, "resolution": 256}, _cut),
    "ode_translator": (
        {
            "width": 64,
            "blocks": 4,
            "resolution": 256,
            "solver": "euler",
            "steps": 1,
            "tolerance": 1e-2,
            "depthwise": 0,
            "time_input": 0,
        },
        _ode,
    ),
}
_SHARES = ("keep",)  # at most 1
_FLOATS = {"stylegan2": ("keep",), "tpgan": ("width", "local_width"), "ode_translator": ("tolerance",)}
_MAY_BE_0 = {"tpgan": ("z_dim", "identities"), "ode_translator": ("depthwise", "time_input")}


def _by_name(name: str, overrides: list[str]) -> Pretrained:
    defaults, make = NETWORKS[name]
    values = dict(defaults)
    for override in overrides:
        key, separator, text = override.partition("=")
        if key not in values or not separator:
            raise UserError(f"unknown key {key!r}{near_names(key, values)}")
        lowest = 0 if key in _MAY_BE_0.get(name, ()) else None
        whole = key not in _FLOATS.get(name, ())
        values[key] = text if isinstance(defaults[key], str) else _number(key, text, lowest, whole)
    torch.manual_seed(0)
    try:
        return make(values)
    except ValueError as error:
        raise UserError(str(error)) from error


def _number(key: str, text: str, lowest: int | None, whole: bool) -> float:
    """Above 0, or from `lowest` on; shares at most 1."""
    try:
        value = int(text) if whole else float(text)
    except ValueError as error:
        raise UserError(f"{key}={text}: expected a number") from error
    if not (value > 0 or value == lowest) or (key in _SHARES and value > 1):
        raise UserError(f"{key}={text}: must be above 0{' and at most 1' if key in _SHARES else ''}")
    return value
