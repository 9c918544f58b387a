"""Checkpoints: whole or not there, named by images seen, the last few kept.

`checkpoints/images-00012800/` holds `state.pt` (everything that moves; tensors and plain values, read without executing
code) and `checkpoint.json` (its size and hash). `checkpoints/latest` names the newest and is written last.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch

from distilgan.errors import UserError
from distilgan.files import file_sha256, new_folder, write_atomic

CHECKPOINTS = "checkpoints"
"""Their folder in a run."""


def save_checkpoint(folder: Path, images: int, state: dict[str, Any], keep: int) -> Path:
    """Write `folder/images-N` and point `latest` to it; then drop all but the newest `keep`."""
    previous = latest_checkpoint(folder)
    safe = f"{previous} is whole" if previous else "nothing was saved before"
    target = folder / f"images-{images:08d}"
    with new_folder(target, safe) as partial:
        with open(partial / "state.pt", "wb") as file:  # a file object, so that a full disk is an OSError
            torch.save(state, file)
        size, digest = _digest(partial / "state.pt")
        facts = {"images": images, "bytes": size, "sha256": digest, "torch": torch.__version__}
        (partial / "checkpoint.json").write_text(json.dumps(facts, indent=1) + "\n")
    write_atomic(folder / "latest", target.name + "\n")
    for old in sorted(folder.glob("images-*"))[:-keep]:
        if old != target:
            shutil.rmtree(old, ignore_errors=True)
    return target


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint, or None where there is none."""
    pointer = folder / "latest"
    if pointer.is_file():
        name = pointer.read_text(errors="replace").strip()
        if (target := folder / name) in folder.glob("images-*"):
            return target
    found = sorted(p for p in folder.glob("images-*") if (p / "checkpoint.json").is_file())
    return found[-1] if found else None


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint written by `save_checkpoint`.

    Raises:
        UserError: damaged; the message names an older whole one where there is one.
    """
    file = path / "state.pt"
    others = sorted(p.name for p in path.parent.glob("images-*") if p != path)
    cure = f"delete {path} to go on from {others[-1]}" if others else "start over with --fresh"
    try:
        facts = json.loads((path / "checkpoint.json").read_text())
        written = facts["bytes"], facts["sha256"]
        found = _digest(file)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"{path}: checkpoint is incomplete ({error}); {cure}") from error
    if found != written:
        raise UserError(f"{file}: damaged ({found[0]} bytes, {written[0]} were written); {cure}")
    state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    return state


def _digest(path: Path) -> tuple[int, str]:
    return path.stat().st_size, file_sha256(path)
