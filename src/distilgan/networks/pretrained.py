"""Networks as folders: `model.safetensors` and `config.json`, the names that a hub and its users expect.

A folder may also hold the discriminator that a generator was trained with, as `discriminator.safetensors`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from distilgan.errors import UserError
from distilgan.files import write_atomic


class Pretrained(nn.Module):
    """A network that can be saved to and read from a folder.

    Subclasses name their `family` and `config_class`, take the config as only argument and keep it as `config`.
    """

    family: ClassVar[str]
    config_class: ClassVar[type[Any]]
    weights_file: ClassVar[str] = "model.safetensors"
    what: ClassVar[str] = "a network"
    config: Any

    def sample_inputs(self, n: int, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Draw `n` inputs of `forward`, by their names."""
        raise NotImplementedError(f"{self.family} draws no inputs")

    def save_pretrained(self, folder: str | Path, *, half: bool = False, **facts: Any) -> None:
        """Write weights and config into `folder`; `half` stores matrices as float16; `facts` go into config.json."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "config.json"
        tree = json.loads(path.read_text()) if path.exists() else {}
        weights = save(_contiguous(self.state_dict(), half))
        digest = hashlib.sha256(weights).hexdigest()
        entry = {"family": self.family, "config": asdict(self.config), "file_sha256": digest}
        tree = (
            {**tree, **facts, **entry} if self.weights_file == "model.safetensors" else {**tree, "discriminator": entry}
        )
        write_atomic(folder / self.weights_file, weights)
        write_config(folder, tree)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Read a network written by `save_pretrained`; float32, in eval mode.

        Raises:
            UserError: missing or damaged files, other weights than config.json was written for, or another family.
        """
        folder = Path(folder)
        entry = read_config(folder)
        if cls.weights_file != "model.safetensors":
            if "discriminator" not in entry:
                raise UserError(f"{folder}: has no discriminator; use critic=fresh")
            entry = entry["discriminator"]
        if entry.get("family") != cls.family:
            raise UserError(f"{folder / 'config.json'}: family is {entry.get('family')!r}, expected {cls.family!r}")
        config = entry.get("config")
        if not isinstance(config, dict):
            raise UserError(f"{folder / 'config.json'}: config is not a section of keys and values")
        unknown = set(config).difference(f.name for f in fields(cls.config_class))
        if unknown:
            raise UserError(f"{folder / 'config.json'}: config.{min(unknown)} is unknown")
        try:
            network = cls(TypeAdapter(cls.config_class).validate_python(config))
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(["config", *(str(part) for part in first["loc"])])
            raise UserError(f"{folder / 'config.json'}: {key}: {first['msg'].removeprefix('Value error, ')}") from error
        except (ValueError, RuntimeError) as error:  # values that fit the config, but not this family
            raise UserError(f"{folder / 'config.json'}: config: {' '.join(str(error).split())[:160]}") from error
        path = folder / cls.weights_file
        try:
            content = path.read_bytes()
            state = load(content)
            digest = hashlib.sha256(content).hexdigest()
            if entry.get("file_sha256", digest) != digest:
                raise UserError(
                    f"{path}: is not the file that config.json describes (file_sha256); copy or make it again"
                )
            if not all(torch.isfinite(v).all() for v in state.values()):
                raise UserError(f"{path}: holds numbers that are not finite; copy or make it again")
            network.load_state_dict({k: v.float() for k, v in state.items()})
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
        except SafetensorError as error:
            raise UserError(f"{path}: damaged or cut short ({error}); copy or make it again") from error
        except RuntimeError as error:
            raise UserError(f"{path}: does not fit config.json ({' '.join(str(error).split())[:160]})") from error
        return network.eval()


def _contiguous(state: dict[str, Tensor], half: bool) -> dict[str, Tensor]:
    def stored(value: Tensor) -> Tensor:
        value = value.detach().cpu().contiguous()
        return value.half() if half and value.dim() >= 2 else value

    return {name: stored(value) for name, value in state.items()}


def weights_sha256(network: nn.Module) -> str:
    """SHA-256 over the names and bytes of all weights."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def network_sha256(network: Pretrained) -> str:
    """SHA-256 over family, config and weights: all that a network's pictures follow from."""
    as_read = TypeAdapter(network.config_class).validate_python  # 256 becomes 256.0, as a folder gives it back
    config = asdict(as_read(asdict(network.config)))
    facts = json.dumps([network.family, config, weights_sha256(network)], sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()


def has_discriminator(folder: Path) -> bool:
    """Whether the discriminator that the generator was trained with is kept beside it."""
    return "discriminator" in read_config(folder)


def write_config(folder: Path, tree: dict[str, Any]) -> None:
    """Write config.json of a generator's folder."""
    write_atomic(folder / "config.json", json.dumps(tree, indent=1) + "\n")


def read_config(folder: Path) -> dict[str, Any]:
    """The tree of `config.json`.

    Raises:
        UserError: not a folder of a generator, or damaged JSON.
    """
    path = folder / "config.json"
    if not folder.exists():
        raise UserError(f"{folder}: no such folder; a generator is a run, a folder with config.json, or builtin:NAME")
    if not path.is_file():
        kind = "is a file" if folder.is_file() else "no config.json in it"
        raise UserError(f"{folder}: not the folder of a generator ({kind}); give a run or what save_pretrained wrote")
    try:
        tree = json.loads(path.read_text())
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(tree, dict):
        raise UserError(f"{path}: expected an object")
    return tree
