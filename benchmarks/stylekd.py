"""StyleKD against its competitors: same teacher, same images, same budget, several seeds.

    python benchmarks/stylekd.py [--table methods|parts] [--images N] [--seeds 0 1 2] [--rows default cagc ...] [--device cpu]

`methods` compares the recipes, `parts` what each part of the default brings, at the demo's budget. Each row and seed is an
ordinary run below benchmarks/runs/stylekd/; finished ones are not done again, an interrupted one goes on. The tables are
benchmarks/results/stylekd*.json; benchmarks/tables.py puts them into the docs. With other rows, images or seeds than a
table's own the result goes to benchmarks/runs/ instead.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from common import RUNS, machine, summary, write

from distilgan.evaluation.cost import latency
from distilgan.evaluation.evaluate import thousands
from distilgan.evaluation.sources import OnnxFile, latents, load_stylegan2
from distilgan.export.onnx import export_onnx
from distilgan.networks.pretrained import weights_sha256
from distilgan.pipeline import execute
from distilgan.recipe import load_recipe

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
    "default in float32": ("stylekd-faces", ["training.precision='32'"]),
}
SEEDS = [0, 1, 2]
METHODS = ["scratch", "cagc", "published", "default"]
# table -> rows, images of each run
TABLES = {"methods": (METHODS, 24000), "parts": ([name for name in ROWS if name.startswith("default")], 8000)}
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


def run_row(name: str, seed: int, images: int, device: str) -> dict[str, Any]:
    recipe_name, changes = ROWS[name]
    every = max(images // 4, 1)
    overrides = [*COMMON, f"training.images={images}", f"training.checkpoint={every}", f"training.sample={every}"]
    recipe = load_recipe(recipe_name, [*overrides, *changes, f"seed={seed}"])
    folder = RUNS / "stylekd" / f"{name.replace(', ', '-').replace(' ', '-')}-{images}-seed{seed}"
    print(f"== {name}, seed {seed}", file=sys.stderr, flush=True)
    execute(recipe, folder, device)  # a finished row is only checked
    tree: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    tree["folder"] = str(folder)
    return tree


def onnx_latency(paths: list[Path], rounds: int = 10) -> list[tuple[float, float]]:
    """Median milliseconds of one picture on one thread, and its ratio to the first file's in the same round.

    The files take turns, so that a slow moment hits all alike. On two threads networks this small swing by half.
    """
    sources = [OnnxFile(path, path.name, threads=1) for path in paths]
    z = next(latents(sources[0].z_dim, 1, 0))
    times = [[latency(lambda s=s: s.images(z), runs=50, warmup=20)["p50"] for s in sources] for _ in range(rounds)]
    return [
        (statistics.median(column), statistics.median(ms / first[0] for ms, first in zip(column, times, strict=True)))
        for column in zip(*times, strict=True)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", choices=list(TABLES), default="methods")
    parser.add_argument("--images", type=int, help="budget of each run; default: the table's")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), help="default: the table's")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    names, images = TABLES[arguments.table]
    names, images = arguments.rows or names, arguments.images or images

    results = {name: [run_row(name, seed, images, arguments.device) for seed in arguments.seeds] for name in names}
    teacher_export = RUNS / "stylekd" / "teacher-onnx"
    teacher = load_stylegan2(TEACHER)
    export_onnx(teacher, teacher_export)
    student_files = [Path(r[0]["folder"]) / "export" / "model.onnx" for r in results.values()]
    teacher_time, *student_times = onnx_latency([teacher_export / "model.onnx", *student_files])

    first = next(iter(results.values()))[0]
    samples = thousands(first["protocol"]["samples"])
    rows = [
        {
            "name": "teacher",
            "params": first["cost"]["teacher"]["parameters"],
            "params_without_mapping": first["cost"]["teacher"]["parameters"]
            - first["cost"]["teacher"]["parameters_mapping"],
            "macs": first["cost"]["teacher"]["macs"],
            "latency_ms": teacher_time[0],
            "latency_ratio_to_teacher": 1.0,
            "seeds": [],
            "metrics": {
                name: summary([first["teacher"][key.format(samples)]])
                for name, key in METRICS.items()
                if key.format(samples) in first["teacher"]
            },
        }
    ]
    for (name, seeds), (ms, share) in zip(results.items(), student_times, strict=True):
        cost = seeds[0]["cost"]["student"]
        rows.append(
            {
                "name": name,
                "params": cost["parameters"],
                "params_without_mapping": cost["parameters"] - cost["parameters_mapping"],
                "macs": cost["macs"],
                "latency_ms": ms,
                "latency_ratio_to_teacher": share,
                "seeds": arguments.seeds,
                "metrics": {n: summary([s["metrics"][k.format(samples)] for s in seeds]) for n, k in METRICS.items()},
            }
        )
    protocol = {
        "teacher_sha256": weights_sha256(teacher),
        "images": images,
        "samples": first["protocol"]["samples"],
        "reference": first["protocol"]["reference_data"],
        "reference_images": first["protocol"]["reference_images"],
        "held_out": True,
        "extractor": first["protocol"]["extractor"],
        "precision": "bf16 where the CPU multiplies it natively",
        "common": COMMON,
        "latency": "ONNX Runtime, one picture, one thread, median over rounds, files in turn",
    }
    command = " ".join(["python benchmarks/stylekd.py", *sys.argv[1:]])
    file = "stylekd" if arguments.table == "methods" else f"stylekd-{arguments.table}"
    whole = (names, images, arguments.seeds) == (*TABLES[arguments.table], SEEDS)
    path = write(file, whole, {"command": command, "protocol": protocol, "machine": machine(), "rows": rows})
    print(path)


if __name__ == "__main__":
    main()
