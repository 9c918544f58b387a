"""Official StyleGAN pickles are read, and nothing in them is run."""

from __future__ import annotations

import pickle
import sys
import types
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distilgan.errors import UserError
from distilgan.networks.stylegan2 import StyleGAN2
from distilgan.teachers.convert import convert
from distilgan.teachers.safe_pickle import read_stylegan_pickle
from tests.conftest import tiny_generator


def _reconstruct_persistent_obj(meta: Any) -> Any:
    raise AssertionError("the official function would run the file's source code")


_reconstruct_persistent_obj.__module__ = "torch_utils.persistence"


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module that official pickles name, here only so that test files can be written."""
    package, module = types.ModuleType("torch_utils"), types.ModuleType("torch_utils.persistence")
    module._reconstruct_persistent_obj = _reconstruct_persistent_obj  # type: ignore[attr-defined]
    package.persistence = module  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch_utils", package)
    monkeypatch.setitem(sys.modules, "torch_utils.persistence", module)


class Pickled:
    """Pickles like the official networks do: class name, source code, attributes."""

    def __init__(self, module: torch.nn.Module, kwargs: dict[str, Any], **attributes: Any) -> None:
        self.state = {
            "_parameters": OrderedDict(module._parameters),
            "_buffers": OrderedDict(module._buffers),
            "_modules": OrderedDict(
                (k, Pickled(m, {}, **attributes)) for k, m in module._modules.items() if m is not None
            ),
            "_init_args": (),
            "_init_kwargs": kwargs,
            "training": False,
            "weight_gain": np.float64(0.25),  # as the official layers keep it
            **attributes,
            "_non_persistent_buffers_set": set(),
        }

    def __reduce__(self) -> Any:
        meta = {
            "type": "class", "version": 6, "module_src": "raise SystemExit('source was run')", "class_name": "Generator",
            "state": self.state,
        }  # fmt: skip
        return _reconstruct_persistent_obj, (meta,), None


@pytest.mark.parametrize("protocol", [3, 4])
@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.usefixtures("official")
def test_an_official_pickle_becomes_the_same_generator(classes: int, protocol: int, tmp_path: Path) -> None:
    """The clamp is what the layers have, wherever the network had it from."""
    network = tiny_generator(label_dim=classes, conv_clamp=64.0)
    with open(tmp_path / "net.pkl", "wb") as file:
        pickled = Pickled(network, {"c_dim": classes}, conv_clamp=64)
        pickle.dump({"G": None, "training_set_kwargs": {}, "G_ema": pickled}, file, protocol)
    found = convert(tmp_path / "net.pkl", tmp_path / "out")
    assert isinstance(found, StyleGAN2)
    assert found.config == network.config
    inputs = network.sample_inputs(2)
    assert torch.equal(found(**inputs), network(**inputs))


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


class Importing:
    def __reduce__(self) -> Any:
        return eval, ("__import__('os').getpid()",)


@pytest.mark.usefixtures("official")
def test_nothing_in_it_is_run(tmp_path: Path) -> None:
    mark, path = tmp_path / "mark", tmp_path / "net.pkl"
    for thing in (Evil(mark), Importing(), {"G_ema": Evil(mark)}, torch.nn.Linear(1, 1), print):
        path.write_bytes(pickle.dumps(thing))
        with pytest.raises(UserError, match="nothing in it was run"):
            read_stylegan_pickle(path)
    assert not mark.exists()


@pytest.mark.usefixtures("official")
def test_a_storage_inside_is_read_as_weights_only(tmp_path: Path) -> None:
    """The bytes of a storage are a pickle of their own."""
    mark, path = tmp_path / "mark", tmp_path / "net.pkl"

    class Storage:
        def __reduce__(self) -> Any:
            return torch.storage._load_from_bytes, (pickle.dumps(Evil(mark)),)

    path.write_bytes(pickle.dumps({"G_ema": Storage()}))
    with pytest.raises(UserError, match=r"nothing in it was run|damaged"):
        read_stylegan_pickle(path)
    assert not mark.exists()


def reduced(module: str, name: str, *given: Any, state: Any = None) -> bytes:
    """A pickle that calls a function and gives the result a state; with `given` left out, the function itself."""
    program = b"\x80\x02" + f"c{module}\n{name}\n".encode()
    program += pickle.dumps(given, 2)[2:-1] + b"R" if given else b""
    program += pickle.dumps(state, 2)[2:-1] + b"b" if state is not None else b""
    return program + b"."


def test_torch_stays_as_it_is(tmp_path: Path) -> None:
    """BUILD sets attributes of whatever it finds, of functions too."""
    before = torch._utils._rebuild_tensor_v2.__defaults__
    for module, name in (("torch._utils", "_rebuild_tensor_v2"), ("torch.storage", "_load_from_bytes")):
        (tmp_path / "x.pkl").write_bytes(reduced(module, name, state=(None, {"__defaults__": ("evil",)})))
        with pytest.raises(UserError, match="a function with a state"):
            read_stylegan_pickle(tmp_path / "x.pkl")
    assert torch._utils._rebuild_tensor_v2.__defaults__ == before


@pytest.mark.parametrize(
    ("offset", "size", "stride"), [(0, (5,), (1,)), (3, (2,), (1,)), (0, (2, 2), (3, 1)), (-1, (1,), (1,))]
)
@pytest.mark.usefixtures("official")
def test_a_tensor_beyond_its_storage_is_refused(offset: int, size: Any, stride: Any, tmp_path: Path) -> None:
    """torch would enlarge the storage, with whatever the memory holds."""

    class Beyond:
        def __reduce__(self) -> Any:
            storage = torch.arange(4.0).storage()
            return torch._utils._rebuild_tensor_v2, (storage, offset, size, stride, False, OrderedDict())

    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"G_ema": Beyond()}))
    with pytest.raises(UserError, match="reaches beyond its storage"):
        read_stylegan_pickle(tmp_path / "x.pkl")


@pytest.mark.usefixtures("official")
def test_a_module_that_is_in_it_twice_is_refused(tmp_path: Path) -> None:
    """Each of 100 levels holds the one below twice: a few bytes, and 2^100 modules."""
    network = Pickled(torch.nn.Identity(), {})
    for _ in range(100):
        above = Pickled(torch.nn.Identity(), {})
        above.state["_modules"] = OrderedDict(a=network, b=network)
        network = above
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"G_ema": network}))
    with pytest.raises(UserError, match="is in it twice"):
        read_stylegan_pickle(tmp_path / "x.pkl")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged or cut short"),
        (b"not a pickle", "not an official StyleGAN pickle|damaged"),
        (pickle.dumps({"G": 3}), "holds no network G_ema"),
        (pickle.dumps([1, 2]), "holds no network G_ema"),
    ],
)
def test_other_files_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        convert(tmp_path / "x.pkl", tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("clamp", [[64], "64", -1, torch.ones(1), float("nan")])
@pytest.mark.usefixtures("official")
def test_a_clamp_that_is_no_number_is_refused(clamp: Any, tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"G_ema": Pickled(tiny_generator(), {}, conv_clamp=clamp)}))
    with pytest.raises(UserError, match=r"conv_clamp=.*: must be a number, 0 or more"):
        convert(tmp_path / "x.pkl", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("official")
def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    content = pickle.dumps({"G_ema": Pickled(tiny_generator(), {})})
    for size in (len(content) // 3, len(content) - 10):
        (tmp_path / "x.pkl").write_bytes(content[:size])
        with pytest.raises(UserError, match=r"damaged or cut short|not an official"):
            read_stylegan_pickle(tmp_path / "x.pkl")


def test_a_pickle_is_of_one_layout(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(b"")
    with pytest.raises(UserError, match=r"--layout ajbrock: a \.pkl holds a StyleGAN2"):
        convert(tmp_path / "x.pkl", tmp_path / "out", layout="ajbrock")
