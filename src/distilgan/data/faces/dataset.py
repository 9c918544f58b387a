"""Writing a set of rendered faces: reproducible picture by picture, by several processes, resumable."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from distilgan.errors import UserError
from distilgan.processes import in_processes

RENDERER = 1
"""Changes whenever the same seed gives another picture."""


def picture_name(index: int) -> str:
    """Path of a picture inside a set, in the layout of StyleGAN's dataset tool."""
    return f"{index // 1000:05d}/img{index:08d}.webp"


def render_set(
    out: Path, count: int, size: int, seed: int = 0, workers: int = 1, progress: Callable[[int], None] | None = None
) -> Path:
    """Render `count` portraits of `size` px to the folder or .zip `out`; picture `i` depends on (seed, i, size) alone.

    Pictures already in an unfinished `out` are kept, so the same command goes on where it stopped.

    Raises:
        UserError: a size outside 32 to 256, or an `out` that holds another set.
    """
    if not 32 <= size <= 256:
        raise UserError(f"size={size}: rendered faces are 32 to 256 px wide")
    if count < 1:
        raise UserError(f"count={count}: must be at least 1")
    if out.exists() and out.suffix == ".zip":
        raise UserError(f"{out} exists already: remove it or choose another name")
    folder = out.with_suffix(".partial") if out.suffix == ".zip" else out
    manifest = {
        "generator": "distilgan faces",
        "renderer": RENDERER,
        "count": count,
        "size": size,
        "seed": seed,
        "licence": "CC0-1.0",
    }
    _claim(folder, manifest)
    jobs = ((folder, i, size, seed) for i in range(count))
    if workers <= 1:
        for job in jobs:
            _render_one(*job)
            if progress:
                progress(1)
    else:
        for _ in in_processes(_render_job, jobs, workers, chunk=8):
            if progress:
                progress(1)
    if out.suffix == ".zip":
        _pack(folder, out, count)
        shutil.rmtree(folder)
    return out


def _claim(folder: Path, manifest: dict[str, object]) -> None:
    path = folder / "faces.json"
    if path.exists():
        found = _read(path)
        if any(found.get(k) != manifest[k] for k in ("renderer", "size", "seed")):
            raise UserError(
                f"{path} describes another set (size {found.get('size')}, seed {found.get('seed')}): choose another folder"
            )
        known, wanted = found.get("count"), manifest["count"]
        if isinstance(known, int) and isinstance(wanted, int) and known > wanted:
            raise UserError(f"{path} describes {known} images: choose another folder, or at least that count")
    elif folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty: choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(manifest, indent=1) + "\n")


def _read(path: Path) -> dict[str, object]:
    try:
        tree = json.loads(path.read_text())
    except (OSError, ValueError):
        tree = None
    return tree if isinstance(tree, dict) else {}


_model: object = None


def _render_job(job: tuple[Path, int, int, int]) -> None:
    _render_one(*job)


def _render_one(folder: Path, index: int, size: int, seed: int) -> None:
    path = folder / picture_name(index)
    if path.exists():
        return
    from distilgan.data.faces.head import HeadModel
    from distilgan.data.faces.identity import sample_capture, sample_identity
    from distilgan.data.faces.render import render_face

    global _model
    if not isinstance(_model, HeadModel):
        _model = HeadModel()
    rng = np.random.default_rng([seed, index])
    identity, capture = sample_identity(rng), sample_capture(rng)
    pixels = render_face(_model, identity, capture, size, seed=int(rng.integers(2**31)))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".tmp")
    Image.fromarray(pixels).save(partial, format="WEBP", lossless=True, quality=100, method=6)
    os.replace(partial, path)


def _pack(folder: Path, out: Path, count: int) -> None:
    partial = out.with_suffix(".tmp")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for name in ["faces.json", *map(picture_name, range(count))]:
            info = zipfile.ZipInfo(name)  # fixed date: the same set is the same file
            archive.writestr(info, (folder / name).read_bytes())
        archive.writestr(zipfile.ZipInfo("dataset.json"), json.dumps({"labels": None}))
    os.replace(partial, out)
