"""Reading the tensors of an official StyleGAN pickle without running anything that is in it.

A pickle is a program that imports names and calls them. Here the names are a short list: storages are read by torch's
weights-only reader, tensors are views of them that stay inside, and a network, which in these files is its source code with
its attributes, becomes an inert record of the attributes. Every other name ends the reading.

The format is that of the official `torch_utils/persistence.py`: an object is pickled as
`_reconstruct_persistent_obj({"type", "version", "module_src", "class_name", "state"})`.
"""

from __future__ import annotations

import collections
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from distilgan.errors import UserError


class _Function:
    """What a pickle may call, but not change: given a function itself, it could set that function's attributes."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *given: Any) -> Any:
        return self._call(*given)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("a function with a state")


class Record:
    """The attributes of a pickled network; the source code that came with it is dropped."""

    __slots__ = ("state",)

    def __init__(self, meta: Any) -> None:
        if not isinstance(meta, dict) or meta.get("type") != "class" or not isinstance(meta.get("state"), dict):
            raise pickle.UnpicklingError("a persistent object that is not a network")
        self.state: dict[Any, Any] = meta["state"]

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("a network with a state beside its attributes")


class _Dropped:
    """A number or type of numpy's, which layers keep and nothing here asks for."""

    __slots__ = ()

    def __init__(self, *given: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


def _storage(content: bytes) -> Any:
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _tensor(storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    raw, dtype = storage._untyped_storage, storage.dtype
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if min((offset, *size, *stride)) < 0 or (0 not in size and last >= raw.nbytes() // dtype.itemsize):
        raise ValueError("a tensor reaches beyond its storage")
    return torch.empty(0, dtype=dtype).set_(raw, offset, size, stride)


def _parameter(data: Tensor, *_: Any) -> Tensor:
    return data


# module, name -> what stands for it. None of these runs code from the file.
_KNOWN: dict[tuple[str, str], Any] = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _Function(Record),
    ("dnnlib.util", "EasyDict"): dict,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("builtins", "set"): set,
    ("torch._utils", "_rebuild_tensor_v2"): _Function(_tensor),
    ("torch._utils", "_rebuild_parameter"): _Function(_parameter),
    ("torch.storage", "_load_from_bytes"): _Function(_storage),
    ("numpy", "dtype"): _Function(_Dropped),
    ("numpy.core.multiarray", "scalar"): _Function(_Dropped),
    ("numpy._core.multiarray", "scalar"): _Function(_Dropped),
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
    """The state dict of one of the networks in an official pickle, and the other attributes of its modules, named alike.

    Raises:
        UserError: not such a pickle, or one that asks for anything but tensors and records.
    """
    try:
        with open(path, "rb") as file:
            tree = _Unpickler(file).load()
        found = tree.get(network) if isinstance(tree, dict) else None
        if not isinstance(found, Record):
            raise UserError(f"{path}: holds no network {network}")
        return _contents(found)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: not an official StyleGAN pickle, or one with more in it than networks ({error}); nothing in it was run"
        ) from error
    except (UserError, OSError):
        raise
    except Exception as error:  # a damaged program stumbles in any way
        raise UserError(
            f"{path}: damaged or cut short ({' '.join(str(error).split())[:80]}); fetch it again"
        ) from error


def _contents(network: Record) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and other attributes of a module and those below it, by the names that `state_dict()` would give."""
    tensors: dict[str, Tensor] = {}
    attributes: dict[str, Any] = {}
    pending, seen = [("", network)], {id(network)}
    while pending:
        prefix, module = pending.pop()
        parts = {kind: module.state.get(kind, {}) for kind in ("_parameters", "_buffers", "_modules")}
        attributes |= {f"{prefix}{name}": value for name, value in module.state.items() if name not in parts}
        for name, value in [*parts["_parameters"].items(), *parts["_buffers"].items()]:
            if isinstance(value, Tensor):
                tensors[f"{prefix}{name}"] = value
        for name, child in parts["_modules"].items():
            if not isinstance(child, Record):
                continue
            if id(child) in seen:  # as often as it likes, in a file of a few bytes
                raise ValueError(f"module {prefix}{name} is in it twice")
            seen.add(id(child))
            pending.append((f"{prefix}{name}.", child))
    return tensors, attributes
