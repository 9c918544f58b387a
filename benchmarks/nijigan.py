"""Students of one photo translator: solvers, blocks, losses: same teacher, same pictures, same budget, several seeds.

    python benchmarks/nijigan.py [--table students|ablation] [--images N] [--seeds 0 1 2] [--rows ...] [--jobs 2] [--device ...]

`students` has the same student under several solvers, four residual blocks in place of its ODEs (which is what one Euler step makes
of them: the same network, so the same runs), one of depthwise convolutions, and the recipes `nijigan` and `nijigan-live`.
`ablation` is that of the NijiGAN report, by its objective (recipe `nijigan-report`, with rk4 in place of dopri5): content weight
0.1, 0.15 and none, residual blocks in place of the ODEs. Each row and seed is an ordinary run below benchmarks/runs/nijigan/;
finished ones are not done again, an interrupted one goes on. The tables are benchmarks/results/nijigan*.json;
benchmarks/tables.py puts them into the docs. With other rows, images or seeds than a table's own the result goes to
benchmarks/runs/ instead.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from common import Benchmark, Table, Timing

from distilgan.evaluation.translation.translators import COST_SIZE, OnnxTranslator, open_translator

TEACHER = "builtin:scenes-teacher"
THREADS = 2
PLAIN = ["student.blocks=4", "student.depthwise=false", "student.antialias=null"]


def solver(name: str, steps: int = 1) -> tuple[str, list[str]]:
    """CUT's encoder and decoder as they are, four blocks."""
    return "nijigan", [*PLAIN, f"student.solver={name}", *([f"student.steps={steps}"] if name != "dopri5" else [])]


def report(*changes: str) -> tuple[str, list[str]]:
    return "nijigan-report", [
        "student.solver=rk4", "data.resolution=64", "data.load=192", "data.zoom=1.34", "critic.width=32", "training.batch=4",
        *changes,
    ]  # fmt: skip


ROWS: dict[str, tuple[str, list[str]]] = {
    "4 plain blocks": solver("euler"),
    "ode, euler 1": solver("euler"),
    "ode, euler 2": solver("euler", 2),
    "ode, rk4": solver("rk4"),
    "ode, dopri5": solver("dopri5"),
    "ode, depthwise": ("nijigan", [*PLAIN, "student.depthwise=true"]),
    "nijigan": ("nijigan", []),
    "nijigan-live": ("nijigan-live", []),
    "report, ode": report(),
    "report, content 0.15": report("unsupervised.content=0.15"),
    "report, no content": report("unsupervised.content=0"),
    "report, residual blocks": report("student.solver=euler"),
}
TABLES = {
    "students": Table([name for name in ROWS if not name.startswith("report")], 2_000),
    "ablation": Table([name for name in ROWS if name.startswith("report")], 2_000),
}
COMMON = ["training.keep_checkpoints=1", "evaluation.latency_runs=3"]
_NAMES = ("kid{}_{}", "fid{}_{}")
METRICS = {
    "kid_style": "kid{}_efficientnet_style",
    "fid_style": "fid{}_efficientnet_style",
    "kid_teacher": "kid{}_efficientnet_teacher",
    "fid_teacher": "fid{}_efficientnet_teacher",
    **{
        name: name
        for name in (
            "psnr_teacher", "ssim_teacher", "perceptual_teacher", "perceptual_photo", "ssim_photo", "high_frequency",
            "psnr_exact_ode", "evaluations",
        )
    },
}  # fmt: skip


def protocol(first: dict[str, Any]) -> dict[str, Any]:
    p = first["protocol"]
    kept = (
        "held_out",
        "style_held_out",
        "photos",
        "photo_crops",
        "style_pictures",
        "style_crops",
        "resolution",
        "load",
        "zoom",
    )
    return {
        **{k: p[k] for k in (*kept, "extractor", "perceptual", "psnr", "ssim", "high_frequency")},
        "photos as they are": first["photos"],
        "pictures in the style": first["style"],
    }


def once(path: Path) -> Callable[[], object]:
    """One photo of 256 px translated by an exported student."""
    translate = OnnxTranslator(path, path.name, threads=THREADS)
    return translate.costed(COST_SIZE).run


def network_once(name: str) -> Callable[[], object]:
    """And by the network itself."""
    torch.set_num_threads(THREADS)
    return open_translator(name).costed(COST_SIZE).run


BENCHMARK = Benchmark(
    "nijigan", TEACHER, ROWS, COMMON, TABLES, METRICS, protocol=protocol, once=once,
    timing=Timing(THREADS, rounds=5, calls=9, warmup=3), network_once=network_once,
)  # fmt: skip

if __name__ == "__main__":
    BENCHMARK.main(__doc__)
