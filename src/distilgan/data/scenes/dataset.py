"""Sets of drawn landscapes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np

from distilgan.data.rendered_sets import claim, pack, run_jobs, save_picture
from distilgan.data.scenes.draw import Light, draw_scene
from distilgan.errors import UserError, near_names

RENDERER = 1
"""Changes whenever the same seed gives another picture."""
MANIFEST = "scenes.json"
SIZES = (64, 1024)


def picture_name(index: int) -> str:
    return f"{index // 1000:05d}/scene{index:06d}.webp"


def render_scenes(
    out: Path, count: int, size: int, seed: int = 0, light: Light = "any", workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Path:  # fmt: skip
    """Draw `count` landscapes of 1.5 `size` by `size` px to the folder or .zip `out`; picture `i` depends on (seed, i, size, light)
    alone.

    Pictures already in an unfinished `out` are kept, so the same command goes on where it stopped.

    Raises:
        UserError: a size outside 64 to 1024, an unknown light, or an `out` that holds another set.
    """
    if light not in get_args(Light):
        raise UserError(f"--light {light}: is unknown{near_names(light, get_args(Light))}")
    if not SIZES[0] <= size <= SIZES[1]:
        raise UserError(f"size={size}: landscapes are {SIZES[0]} to {SIZES[1]} px high")
    if count < 1:
        raise UserError(f"count={count}: must be at least 1")
    manifest: dict[str, object] = {
        "generator": "distilgan scenes", "renderer": RENDERER, "count": count, "size": size, "seed": seed,
        "light": light, "licence": "CC0-1.0",
    }  # fmt: skip
    folder = claim(out, manifest, growing="count", file=MANIFEST)
    run_jobs(_draw_one, [(folder, i, size, seed, light) for i in range(count)], workers, 8, progress)
    if out.suffix == ".zip":
        pack(folder, out, [MANIFEST, *map(picture_name, range(count))])
    return out


def _draw_one(job: tuple[Path, int, int, int, Light]) -> int:
    folder, index, size, seed, light = job
    path = folder / picture_name(index)
    if not path.exists():
        save_picture(draw_scene(np.random.default_rng([seed, index]), size, size * 3 // 2, light), path)
    return 1
