"""How fast the networks run here, against the machine's own matrix products in the same run.

    python benchmarks/speed.py [--official CHECKOUT]

Forward: StyleGAN2 at 256 px with random weights, one picture, float32 and bf16, both forms of the modulated convolution.
Training: GAN steps (both players, lazy R1 every 16th) at 64 px, batch 16, float32 and bf16. With --official the same is
timed for a checkout of the official PyTorch implementation. All are timed in turn, round after round, because a machine's
speed drifts; a ratio is the median over rounds. Nothing else may run meanwhile.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import official
import torch
from common import Runs, in_turn, machine, ratio, write

from distilgan.data.feed import Batch
from distilgan.evaluation.cost import count_macs
from distilgan.methods.base import Engine
from distilgan.methods.draws import Draws
from distilgan.methods.gan import GAN
from distilgan.networks.stylegan2 import StyleGAN2, StyleGAN2Config
from distilgan.recipe import GANRecipe, load_recipe

# Figures of the official implementation on two free cores of another machine of this kind, float32 (research notes).
PUBLIC = {"forward_seconds_256": 0.45, "training_images_per_second_64_base4096": 10.0}
CHANNELS_LAST = torch.channels_last
BATCH, STEPS = 16, 16  # 16 steps hold one R1
WIDTHS = ((4096, 512), (4096, 128), (2048, 512))  # channel base and maximum at 64 px
OFFICIAL = "official code, float32"


def matrix_product(dtype: torch.dtype, n: int = 2048) -> Callable[[], object]:
    a, b = torch.randn(2, n, n).to(dtype)
    return lambda: [a @ b for _ in range(4)]


MATRIX_FLOPS = 4 * 2 * 2048**3


def autocast(bf16: bool) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=bf16)


@torch.no_grad()
def forward(with_official: bool, rounds: int = 11) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Rows of one picture at 256 px, and the machine's rates in the same rounds (GFLOP/s)."""
    torch.manual_seed(0)
    network = StyleGAN2(StyleGAN2Config(256)).eval().to(memory_format=CHANNELS_LAST)
    z = torch.randn(1, 512)
    flops = 2 * count_macs(network, z=z)
    exact = network(z)

    def ours(form: str, bf16: bool) -> torch.Tensor:
        network.modulation = form  # type: ignore[assignment]
        with autocast(bf16):
            picture: torch.Tensor = network(z)
        return picture

    matrix = {"float32": "matrix product, float32", "bf16": "matrix product, bf16"}
    names = {f"{form}, {d}": (form, d) for form in ("activations", "weights") for d in matrix}
    runs: Runs = {matrix["float32"]: matrix_product(torch.float32), matrix["bf16"]: matrix_product(torch.bfloat16)}
    runs |= {name: lambda form=form, d=d: ours(form, d == "bf16") for name, (form, d) in names.items()}
    if with_official:
        runs[OFFICIAL] = official.forward_256()
    in_turn(runs, 2)
    seconds = in_turn(runs, rounds)

    rows = []
    for name in [n for n in runs if n not in matrix.values()]:
        dtype = "bf16" if name.endswith("bf16") else "float32"
        row: dict[str, Any] = {"name": f"forward 256 px, {name}", "seconds": statistics.median(seconds[name])}
        row["share_of_matrix_rate"] = ratio(seconds, matrix[dtype], name) * flops / MATRIX_FLOPS
        if name in names:
            form, _ = names[name]
            if dtype == "bf16":
                row["ratio_to_float32"] = ratio(seconds, f"{form}, float32", name)
                error = (ours(form, True) - exact).square().mean()
                row["psnr_to_float32"] = float(10 * torch.log10((exact.max() - exact.min()) ** 2 / error))
            if with_official:
                row["ratio_to_official"] = ratio(seconds, OFFICIAL, name)
            row["ratio_to_public"] = PUBLIC["forward_seconds_256"] / row["seconds"]
        rows.append(row)
        print(row, flush=True)
    rates = {d: MATRIX_FLOPS / statistics.median(seconds[name]) / 1e9 for d, name in matrix.items()}
    return rows, rates


def our_steps(base: int, maximum: int, bf16: bool) -> Callable[[], object]:
    changes = [f"network.channel_base={base}", f"network.channel_max={maximum}", "data.resolution=64"]
    recipe = load_recipe("stylegan2-faces", [*changes, f"training.batch={BATCH}"])
    assert isinstance(recipe, GANRecipe)
    torch.manual_seed(0)
    method = GAN(recipe)
    for network in method.trainable().values():
        network.to(memory_format=CHANNELS_LAST)
    engine = Engine(lambda x: x.backward(), lambda: autocast(bf16), lambda n: nullcontext(), lambda v: v)
    method.prepare(method.trainable(), dict(method.optimisers()), engine)
    real = Batch(torch.randn(BATCH, 3, 64, 64).contiguous(memory_format=CHANNELS_LAST))
    seen = iter(range(10**9))
    return lambda: [method.step([real], [Draws(0, next(seen), BATCH)]) for _ in range(STEPS)]


def official_steps(base: int, maximum: int) -> Callable[[], object]:
    step = official.training_step(64, base, maximum, BATCH)
    return lambda: [step(i == 0) for i in range(STEPS)]


def training(with_official: bool, rounds: int = 3) -> list[dict[str, Any]]:
    rows = []
    for base, maximum in WIDTHS:
        runs: Runs = {d: our_steps(base, maximum, d == "bf16") for d in ("float32", "bf16")}
        if with_official:
            runs[OFFICIAL] = official_steps(base, maximum)
        in_turn(runs, 1)
        seconds = in_turn(runs, rounds)
        for name in runs:
            rate = BATCH * STEPS / statistics.median(seconds[name])
            row: dict[str, Any] = {
                "name": f"training 64 px, base {base}, at most {maximum}, {name}",
                "images_per_second": rate,
            }
            if name == "bf16":
                row["ratio_to_float32"] = ratio(seconds, "float32", "bf16")
            if with_official and name != OFFICIAL:
                row["ratio_to_official"] = ratio(seconds, OFFICIAL, name)
            if base == 4096 and name != OFFICIAL:
                row["ratio_to_public"] = rate / PUBLIC["training_images_per_second_64_base4096"]
            rows.append(row)
            print(row, flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--official", type=Path, help="a checkout of the official PyTorch StyleGAN2 or StyleGAN3 code")
    arguments = parser.parse_args()
    if arguments.official:
        official.use_checkout(arguments.official)
    rows, rates = forward(bool(arguments.official))
    rows += training(bool(arguments.official))
    tree = {
        "command": "python benchmarks/speed.py" + (" --official CHECKOUT" if arguments.official else ""),
        "protocol": {"batch_forward": 1, "batch_training": BATCH, "statistic": "median over rounds", "public": PUBLIC},
        "machine": machine(),
        "matrix_gflops": rates,
        "rows": rows,
    }
    print(write("speed", arguments.official is not None, tree))


if __name__ == "__main__":
    main()
