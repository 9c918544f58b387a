"""MetaKD against fixed and other learnt loss weights: same teacher, same faces, same budget, several seeds.

    distilgan data poses benchmarks/runs/poses/train --identities 400 --recordings 2
    distilgan data poses benchmarks/runs/poses/validation --first 801 --identities 30 --recordings 2
    distilgan data poses benchmarks/runs/poses/test --first 901 --identities 40 --recordings 2
    python benchmarks/metakd.py [--table methods|grid|long] [--images N] [--seeds 0 1 2] [--rows ...] [--jobs 2] [--device ...]

`methods` has conventional distillation (`fixed`), the student without a teacher, every balancer, what MetaKD is without its
signals and with shuffled ones, and the best of nine fixed weightings, which `grid` chooses by PSNR to the teacher on validation
people, one seed each; `metakd from` starts there. `long` has four of the rows with three times the images. The test people are
nobody's training people. Each row and seed is an ordinary run below benchmarks/runs/metakd/; finished ones are not done again, an
interrupted one goes on. The tables are benchmarks/results/metakd*.json; benchmarks/tables.py puts them into the docs. With other
rows, images or seeds than a table's own the result goes to benchmarks/runs/ instead.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from common import RUNS, Benchmark, Table

from distilgan.evaluation.faces.frontalizers import OnnxFrontalizer
from distilgan.recipe import AnyRecipe

TEACHER = "builtin:poses64-teacher"
DATA = RUNS / "poses"
FIXED = "balancer.kind=fixed"
GRID = {
    f"fixed, local {local:g}, feature {feature:g}": (
        "metakd",
        [FIXED, f"losses.local={local}", f"losses.feature={feature}"],
    )
    for local in (1.0, 3.0, 9.0)
    for feature in (0.3, 1.0, 3.0)
}
# The grid's best, by what --table grid says.
BEST = "fixed, local 1, feature 3"
ROWS: dict[str, tuple[str, list[str]]] = {
    "no teacher": ("metakd", ["teacher=null", f"like={TEACHER}", "losses.feature=0", FIXED]),
    "fixed": ("metakd", [FIXED]),
    "uncertainty": ("metakd", ["balancer.kind=uncertainty"]),
    "dwa": ("metakd", ["balancer.kind=dwa"]),
    "gradnorm": ("metakd", ["balancer.kind=gradnorm"]),
    "famo": ("metakd", ["balancer.kind=famo"]),
    "metakd": ("metakd", []),
    "metakd, losses only": ("metakd", ["balancer.signals=loss"]),
    "metakd, gradients only": ("metakd", ["balancer.signals=gradient"]),
    "metakd, no signals": ("metakd", ["balancer.signals=none"]),
    "metakd, shuffled": ("metakd", ["balancer.signals=shuffled"]),
    f"metakd from {BEST.removeprefix('fixed, ')}": ("metakd", GRID[BEST][1][1:]),
    **GRID,
}
TABLES = {
    "methods": Table([name for name in ROWS if name not in GRID or name == BEST], 4_000),
    "long": Table(["fixed", "metakd", BEST, f"metakd from {BEST.removeprefix('fixed, ')}"], 12_000),
    "grid": Table(list(GRID), 4_000, [0], [f"evaluation.data={DATA / 'validation'}"]),
}
# The people that MetaKD's meta-loss needs are nobody's training people, so all rows see the same faces in the same order.
COMMON = ["balancer.held_out=0.1", "training.keep_checkpoints=1"]
METRICS = {
    name: name
    for name in (
        "psnr_teacher", "ssim_teacher", "perceptual_teacher", "psnr_truth", "ssim_truth", "perceptual_truth",
        "identity_truth", "rank1", "asymmetry",
    )
}  # fmt: skip


def inputs(recipe: AnyRecipe, device: str) -> list[str]:
    for name in ("train", "validation", "test"):
        if not (DATA / name / "pairs.csv").is_file():
            sys.exit(f"{DATA / name}: make it first, with the command at the top of this file")
    return [f"data.path={DATA / 'train'}", f"evaluation.data={DATA / 'test'}"]


def protocol(first: dict[str, Any]) -> dict[str, Any]:
    p = first["protocol"]
    kept = {k: p[k] for k in ("held_out", "pairs", "turned", "people", "gallery", "probes", "identity", "ssim", "psnr")}
    return {
        "reference": f"rendered faces, {Path(p['data']).name}: two moments of each person, 13 angles",
        **kept,
        "unturned": first["profile"],
        "true faces": first["truth"],
    }


def once(path: Path) -> Callable[[], object]:
    """One face turned by an exported student, on one thread."""
    turn = OnnxFrontalizer(path, path.name, threads=1)
    face, landmarks = torch.zeros(1, 3, turn.resolution, turn.resolution), torch.full((1, 5, 2), turn.resolution / 2)
    return lambda: turn(face, landmarks)


BENCHMARK = Benchmark("metakd", TEACHER, ROWS, COMMON, TABLES, METRICS, inputs, protocol=protocol, once=once)

if __name__ == "__main__":
    BENCHMARK.main(__doc__)
