"""TinyGAN against its parts and its competitors: same teacher, same pairs, same images, same budget, several seeds.

    distilgan data fashion-mnist benchmarks/runs/fashion-mnist
    python benchmarks/tinygan.py [--table methods|options] [--images N] [--seeds 0 1 2] [--rows full pixel ...] [--device cpu]

`methods` has the objective, its parts, the student without a teacher, and DiStyleGAN; `options` what the recipe's options
bring. Each row and seed is an ordinary run below benchmarks/runs/tinygan/; finished ones are not done again, an interrupted
one goes on. The tables are benchmarks/results/tinygan*.json; benchmarks/tables.py puts them into the docs. With other rows,
images or seeds than a table's own the result goes to benchmarks/runs/ instead.
"""

from __future__ import annotations

import sys
from typing import Any

from common import RUNS, Benchmark, Table

from distilgan.data.pair_writer import draw_pairs
from distilgan.recipe import AnyRecipe, TinyGANRecipe
from distilgan.runs import generator_folder

TEACHER = "builtin:fashion32-teacher"
DATA = RUNS / "fashion-mnist"
PAIRS = RUNS / "tinygan" / "pairs"
COUNT = 50_000
COMMON = ["evaluation.samples=2000", "evaluation.classifier_images=5000", "training.keep_checkpoints=1"]
NO_CRITIC = [
    "losses.feature=0",
    "losses.distill_gan=0",
    "losses.gan=0",
    "losses.critic_distill=0",
    "losses.critic_gan=0",
]
ROWS: dict[str, tuple[str, list[str]]] = {
    "full": ("tinygan", []),
    "full without feature term": ("tinygan", ["losses.feature=0"]),
    # Each part has the best of the rates that were tried for it on validation images; where none is named, the recipe's.
    "pixel only": ("tinygan", [*NO_CRITIC, "optimiser.lr=0.004"]),
    "adversarial only": ("tinygan", ["losses.feature=0", "losses.pixel=0"]),
    "scratch": ("tinygan-scratch", []),
    "distylegan as published": ("distylegan-as-published", ["losses.pixel_fall=0.0128"]),  # 20 steps of this length
    "tinygan as published": ("tinygan-as-published", []),
    "full with metakd": ("tinygan", ["balancer.kind=metakd"]),
    "full with skip-z": ("tinygan", ["student.skip_z=true"]),
    "full with class at the stem": ("tinygan", ["student.class_at_stem=true"]),
    "full with adversarial terms every 5th step": ("tinygan", ["losses.adversarial_every=5"]),
}
METHODS = [
    "full", "full with metakd", "full without feature term", "pixel only", "adversarial only", "scratch", "distylegan as published",
]  # fmt: skip
OPTIONS = [name for name in ROWS if name.startswith("full with ") and name not in METHODS]
TABLES = {
    "methods": Table(METHODS, 50_000),
    "options": Table(["full", "tinygan as published", *OPTIONS], 25_000),
}
# Our name of a figure -> where metrics.json has it.
METRICS = {
    "kid_data": "kid{}_efficientnet",
    "fid_data": "fid{}_efficientnet",
    "recall_data": "recall{}_efficientnet",
    "intra_kid_mean": "intra_kid{}_efficientnet_mean",
    "intra_kid_worst": "intra_kid{}_efficientnet_worst",
    "intra_fid_worst": "intra_fid{}_efficientnet_worst",
    "accuracy_mean": "accuracy{}_efficientnet_mean",
    "accuracy_worst": "accuracy{}_efficientnet_worst",
    "cas_mean": "cas{}_efficientnet_mean",
    "kid_teacher": "kid{}_efficientnet_teacher",
    "perceptual_teacher": "perceptual_teacher",
    "psnr_teacher": "psnr_teacher",
}


def inputs(recipe: AnyRecipe, device: str) -> list[str]:
    """The whole data set, and for a student of the teacher's its pairs, drawn once; those of uniform latents apart."""
    if not (DATA / "test.zip").is_file():
        sys.exit(f"{DATA}: make it first with `distilgan data fashion-mnist {DATA}`")
    assert isinstance(recipe, TinyGANRecipe)
    changes = [f"data.path={DATA / 'train.zip'}", f"evaluation.data={DATA / 'test.zip'}"]
    if recipe.teacher is None:
        return changes
    latent = recipe.pairs.latent
    folder = PAIRS.with_name(f"pairs-{latent}") if latent else PAIRS
    draw_pairs(folder, generator_folder(TEACHER), TEACHER, COUNT, distribution=latent, device=device)
    return [*changes, f"pairs.store={folder}"]


def facts(first: dict[str, Any], samples: str) -> dict[str, Any]:
    return {
        "reference": "Fashion-MNIST, test images",
        "pairs": COUNT,
        "classifier": f"linear probe on {first['protocol']['classifier_images']} training images",
        "accuracy_on_real": first["metrics"][f"accuracy_real{samples}_efficientnet_mean"],
    }


BENCHMARK = Benchmark("tinygan", TEACHER, ROWS, COMMON, TABLES, METRICS, inputs, facts)

if __name__ == "__main__":
    BENCHMARK.main(__doc__)
