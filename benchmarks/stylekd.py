"""StyleKD against its competitors: same teacher, same images, same budget, several seeds.

    python benchmarks/stylekd.py [--table methods|parts] [--images N] [--seeds 0 1 2] [--rows default cagc ...] [--device cpu]

`methods` compares the recipes, `parts` what each part of the default brings, at the demo's budget. Each row and seed is an
ordinary run below benchmarks/runs/stylekd/; finished ones are not done again, an interrupted one goes on. The tables are
benchmarks/results/stylekd*.json; benchmarks/tables.py puts them into the docs. With other rows, images or seeds than a
table's own the result goes to benchmarks/runs/ instead.
"""

from __future__ import annotations

from common import Benchmark, Table

TEACHER = "builtin:faces32-teacher"
# One regularisation for all rows, so that a row differs by its method alone, and 1,000 pictures each.
COMMON = [
    "regularisation.path_length=0",
    "regularisation.diffaugment=[color,translation]",
    "evaluation.samples=1000",
    "training.keep_checkpoints=1",
]
ROWS: dict[str, tuple[str, list[str]]] = {
    "scratch": ("stylekd-scratch", []),
    "cagc": ("stylekd-cagc", []),
    "published": ("stylekd-published", []),
    "default": ("stylekd-faces", []),
    "default without latent direction": ("stylekd-faces", ["losses.latent_direction=0"]),
    "default without pixel and perceptual": ("stylekd-faces", ["losses.pixel=0", "losses.perceptual=0"]),
    "default with own noise": ("stylekd-faces", ["share_noise=false"]),
    "default with dcp scores": ("stylekd-faces", ["student.score=dcp"]),
    "default with random channels": ("stylekd-faces", ["student.score=random"]),
    "default with fresh synthesis": ("stylekd-faces", ["student.init=mapping"]),
    "default with metakd": ("stylekd-faces", ["balancer.kind=metakd"]),
    "default in float32": ("stylekd-faces", ["training.precision='32'"]),
}
METHODS = ["scratch", "cagc", "published", "default", "default with metakd"]
TABLES = {
    "methods": Table(METHODS, 24_000),
    "parts": Table([name for name in ROWS if name.startswith("default") and "metakd" not in name], 8_000),
}
# Our name of a figure -> where metrics.json has it.
METRICS = {
    "kid_data": "kid{}_efficientnet",
    "fid_data": "fid{}_efficientnet",
    "recall_data": "recall{}_efficientnet",
    "coverage_data": "coverage{}_efficientnet",
    "kid_teacher": "kid{}_efficientnet_teacher",
    "perceptual_teacher": "perceptual_teacher",
    "psnr_teacher": "psnr_teacher",
}
BENCHMARK = Benchmark("stylekd", TEACHER, ROWS, COMMON, TABLES, METRICS)

if __name__ == "__main__":
    BENCHMARK.main(__doc__)
