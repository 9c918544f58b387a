"""Sets of portraits: every picture another person."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from distilgan.data.faces.identity import sample_capture, sample_identity
from distilgan.data.faces.model import MANIFEST, check_size, head_model
from distilgan.data.rendered_sets import claim, pack, run_jobs, save_picture
from distilgan.errors import UserError

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
    check_size(size)
    if count < 1:
        raise UserError(f"count={count}: must be at least 1")
    manifest: dict[str, object] = {
        "generator": "distilgan faces",
        "renderer": RENDERER,
        "count": count,
        "size": size,
        "seed": seed,
        "licence": "CC0-1.0",
    }
    folder = claim(out, manifest, growing="count", file=MANIFEST)
    run_jobs(_render_one, [(folder, i, size, seed) for i in range(count)], workers, 8, progress)
    if out.suffix == ".zip":
        (folder / "dataset.json").write_text(json.dumps({"labels": None}))
        pack(folder, out, [MANIFEST, *map(picture_name, range(count)), "dataset.json"])
    return out


def _render_one(job: tuple[Path, int, int, int]) -> int:
    folder, index, size, seed = job
    path = folder / picture_name(index)
    if not path.exists():
        model = head_model()  # says which package is missing, before render.py is read
        from distilgan.data.faces.render import render_face

        rng = np.random.default_rng([seed, index])
        identity, capture = sample_identity(rng), sample_capture(rng)
        save_picture(render_face(model, identity, capture, size, seed=int(rng.integers(2**31))), path)
    return 1
