"""Reading the tensors of an official StyleGAN pickle without running anything that is in it.

A pickle is a program that imports names and calls them. Here the names are a short list: tensors are rebuilt by torch's own
functions, storages by torch's weights-only reader, and a network, which in these files is its source code with its
attributes, becomes an inert record of the attributes. Every other name ends the reading.

The format is that of the official `torch_utils/persistence.py`: an object is pickled as
`_reconstruct_persistent_obj({"type", "version", "module_src", "class_name", "state"})`.
"""

from __future__ import annotations

import collections
import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from distilgan.errors import UserError


@dataclass
class Record:
    """A pickled network: its class's name and its attributes; the source code that came with it is dropped."""

    name: str
    state: dict[str, Any]

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("a network with a state beside its attributes")


def _record(meta: dict[str, Any]) -> Record:
    if not isinstance(meta, dict) or meta.get("type") != "class" or not isinstance(meta.get("state"), dict):
        raise pickle.UnpicklingError("a persistent object that is not a network")
    return Record(str(meta.get("class_name")), meta["state"])


def _storage(content: bytes) -> Any:
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


# module, name -> what stands for it. None of these runs code from the file.
_KNOWN: dict[tuple[str, str], Callable[..., Any] | type] = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _record,
    ("dnnlib.util", "EasyDict"): dict,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("torch.storage", "_load_from_bytes"): _storage,
    ("builtins", "set"): set,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        found = _KNOWN.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return found

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to data outside the file")


def read_stylegan_pickle(path: Path, network: str = "G_ema") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state dict of one of the networks in an official pickle, and the arguments it was built with.

    Raises:
        UserError: not such a pickle, or one that asks for anything but tensors and records.
    """
    try:
        with open(path, "rb") as file:
            tree = _Unpickler(file).load()
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: not an official StyleGAN pickle, or one with more in it than networks ({error}); nothing in it was run"
        ) from error
    except (EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError, RuntimeError) as error:
        raise UserError(
            f"{path}: damaged or cut short ({' '.join(str(error).split())[:80]}); fetch it again"
        ) from error
    found = tree.get(network) if isinstance(tree, dict) else None
    if not isinstance(found, Record):
        raise UserError(f"{path}: holds no network {network}")
    arguments = found.state.get("_init_kwargs")
    return dict(_tensors(found, "", path)), arguments if isinstance(arguments, dict) else {}


def _tensors(module: Record, prefix: str, path: Path) -> list[tuple[str, Tensor]]:
    """Names and tensors of a module and those below it, as `state_dict()` would give them."""
    own: list[tuple[str, Tensor]] = []
    for kind in ("_parameters", "_buffers"):
        for name, value in _section(module, kind, path).items():
            if isinstance(value, Tensor):
                own.append((f"{prefix}{name}", value.detach()))
    for name, child in _section(module, "_modules", path).items():
        if isinstance(child, Record):
            own += _tensors(child, f"{prefix}{name}.", path)
    return own


def _section(module: Record, kind: str, path: Path) -> dict[str, Any]:
    section = module.state.get(kind, {})
    if not isinstance(section, dict):
        raise UserError(f"{path}: {module.name}.{kind} is not a table of names; fetch the file again")
    return section
