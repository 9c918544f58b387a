"""Writing sets of rendered pictures: job by job, by several processes, resumable."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from distilgan.errors import UserError
from distilgan.files import new_file, write_atomic
from distilgan.processes import in_processes

J = TypeVar("J")
R = TypeVar("R")


def claim(out: Path, manifest: dict[str, object], growing: str, file: str) -> Path:
    """The folder to write a set into, which may hold a part of it; beside `out` if that is a .zip.

    Args:
        growing: the number in the manifest that may be raised, so that a set is continued. file: the manifest's name.

    Raises:
        UserError: an `out` that holds anything else.
    """
    if out.exists() and out.suffix == ".zip":
        raise UserError(f"{out} exists already: remove it or choose another name")
    folder = out.with_suffix(".partial") if out.suffix == ".zip" else out
    path = folder / file
    if path.exists():
        found = _read(path)
        other = next((k for k in {**manifest, **found} if k != growing and found.get(k) != manifest.get(k)), None)
        if other:
            raise UserError(
                f"{path} describes another set ({other} {found.get(other)}, not {manifest.get(other)}): choose another folder"
            )
        known, wanted = found.get(growing), manifest[growing]
        if isinstance(known, int) and isinstance(wanted, int) and known > wanted:
            raise UserError(f"{path}: {growing} is {known} there: choose another folder, or at least that many")
    elif folder.is_file():
        raise UserError(f"{folder} is a file: name a folder, or a .zip")
    elif folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty: choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(manifest, indent=1) + "\n")
    return folder


def pack(folder: Path, out: Path, names: Iterable[str]) -> None:
    """Move `names` of a finished folder into the zip `out`."""
    with new_file(out) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for name in names:
            info = zipfile.ZipInfo(name)  # fixed date: the same set is the same file
            archive.writestr(info, (folder / name).read_bytes())
    shutil.rmtree(folder)


def run_jobs(
    work: Callable[[J], R], jobs: Sequence[J], workers: int, chunk: int, progress: Callable[[R], None] | None
) -> list[R]:
    """The results of all jobs, in their order."""
    results = map(work, jobs) if workers <= 1 else in_processes(work, jobs, workers, chunk=chunk)
    found = []
    for result in results:
        found.append(result)
        if progress:
            progress(result)
    return found


def save_picture(pixels: npt.NDArray[np.uint8], path: Path) -> None:
    """Lossless WebP, written whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".tmp")
    Image.fromarray(pixels).save(partial, format="WEBP", lossless=True, quality=75, method=4)
    os.replace(partial, path)


def _read(path: Path) -> dict[str, object]:
    try:
        tree = json.loads(path.read_text())
    except (OSError, ValueError):
        tree = None
    return tree if isinstance(tree, dict) else {}
