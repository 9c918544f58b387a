"""What a balancer costs: seconds of a student's steps with each, against the same steps with fixed weights.

    python benchmarks/overhead.py

The student, teacher, batch and options are those of benchmarks/metakd.py, the faces the packaged ones; 20 steps with each in turn,
round after round, on one thread, because a machine's speed drifts; a ratio is the median over rounds, beside it the middle half of
them. Nothing else may run meanwhile.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from itertools import count
from typing import Any

import torch
from common import in_turn, machine, write
from metakd import COMMON, ROWS

from distilgan.data.face_pairs import FacePairs
from distilgan.methods.base import Engine
from distilgan.methods.draws import Draws
from distilgan.pipeline import build_method
from distilgan.recipe import load_recipe

STEPS, ROUNDS = 20, 15  # two looks at the gradients in 20 steps
KINDS = ("fixed", "uncertainty", "dwa", "gradnorm", "famo", "metakd")


def steps(kind: str) -> Callable[[], object]:
    recipe_name, changes = ROWS[kind]
    recipe = load_recipe(recipe_name, [*COMMON, *changes])
    pairs = FacePairs(recipe.data.path, recipe.data.resolution)
    method = build_method(recipe, pairs)
    for network in [*method.trainable().values(), *method.frozen()]:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    method.prepare(method.trainable(), dict(method.optimisers()), Engine())
    batch = recipe.training.batch
    batches = method.lessons().batches(batch, 0, start=0, mirror=recipe.data.mirror, part=0, parts=1, workers=0)
    seen = count(0, batch)

    def step() -> None:
        images = next(seen)
        method.step([next(batches).to(torch.device("cpu"))], [Draws(0, images, batch)])

    return lambda: [step() for _ in range(STEPS)]


def main() -> None:
    torch.set_num_threads(1)
    runs = {kind: steps(kind) for kind in KINDS}
    in_turn(runs, 1)
    seconds = in_turn(runs, ROUNDS)
    rows: list[dict[str, Any]] = []
    for kind in KINDS:
        ratios = [s / f for s, f in zip(seconds[kind], seconds["fixed"], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        rows.append({
            "name": kind,
            "seconds_per_step": statistics.median(seconds[kind]) / STEPS,
            "ratio_to_fixed": middle,
            "middle_half": [low, high],
        })  # fmt: skip
    tree = {
        "command": "python benchmarks/overhead.py",
        "protocol": {"steps": STEPS, "rounds": ROUNDS, "statistic": "median over rounds"},
        "machine": machine(),
        "rows": rows,
    }
    print(write("overhead", True, tree))


if __name__ == "__main__":
    main()
