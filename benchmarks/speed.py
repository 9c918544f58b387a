"""How fast the networks run here, against the machine's own matrix products in the same run.

    python benchmarks/speed.py [--training-only | --forward-only]

Forward: StyleGAN2 at 256 px with random weights, one picture, float32 and bf16, both forms of the modulated convolution.
Training: GAN steps (both players, lazy R1) at 64 px, batch 16, float32 and bf16. Nothing else may run meanwhile.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from common import machine, write

from distilgan.evaluation.cost import count_macs
from distilgan.methods.adversarial import Engine
from distilgan.methods.draws import Draws
from distilgan.methods.gan import GAN
from distilgan.networks.stylegan2 import StyleGAN2, StyleGAN2Config
from distilgan.recipe import GANRecipe, load_recipe

# What the public reference implementation gave on two free cores of such a machine, float32 (research notes).
REFERENCE = {"forward_seconds_256": 0.45, "training_images_per_second_64_base4096": 10.0}
CHANNELS_LAST = torch.channels_last


def median_seconds(run: Callable[[], object], times: int, warmup: int = 2) -> float:
    for _ in range(warmup):
        run()
    found = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return sorted(found)[len(found) // 2]


def matrix_rate(dtype: torch.dtype, n: int = 2048) -> float:
    """GFLOP/s of an n x n product."""
    a, b = torch.randn(2, n, n).to(dtype)
    return 2 * n**3 / median_seconds(lambda: a @ b, 15) / 1e9


def autocast(bf16: bool) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=bf16)


@torch.no_grad()
def forward(rates: dict[str, float]) -> list[dict[str, Any]]:
    torch.manual_seed(0)
    network = StyleGAN2(StyleGAN2Config(256)).eval()
    network.to(memory_format=CHANNELS_LAST)
    z = torch.randn(1, 512)
    flops = 2 * count_macs(network, z=z)
    exact = network(z)
    rows = []
    for form in ("activations", "weights"):
        network.modulation = form  # type: ignore[assignment]
        for name, bf16 in (("float32", False), ("bf16", True)):
            with autocast(bf16):
                seconds = median_seconds(lambda: network(z), 10)
                error = (network(z) - exact).square().mean()
            span = exact.max() - exact.min()
            rate = flops / seconds / 1e9
            rows.append(
                {
                    "name": f"forward 256 px, {form}, {name}",
                    "seconds": seconds,
                    "gflops": rate,
                    "share_of_matrix_rate": rate / rates[name],
                    "ratio_to_reference": REFERENCE["forward_seconds_256"] / seconds,
                    "psnr_to_float32": float(10 * torch.log10(span**2 / error.clamp(min=1e-20))),
                }
            )
            print(rows[-1], flush=True)
    return rows


def training() -> list[dict[str, Any]]:
    rows = []
    for base in (4096, 2048):
        rates = {}
        for name, bf16 in (("float32", False), ("bf16", True)):
            changes = [
                f"network.channel_base={base}",
                "network.channel_max=512",
                "data.resolution=64",
                "training.batch=16",
            ]
            recipe = load_recipe("stylegan2-faces", changes)
            assert isinstance(recipe, GANRecipe)
            torch.manual_seed(0)
            method = GAN(recipe)
            for network in method.trainable().values():
                network.to(memory_format=CHANNELS_LAST)
            engine = Engine(lambda x: x.backward(), lambda on=bf16: autocast(on), lambda n: nullcontext(), lambda v: v)
            method.prepare(method.trainable(), dict(method.optimisers()), engine)
            real = torch.randn(16, 3, 64, 64).contiguous(memory_format=CHANNELS_LAST)
            step = iter(range(10**9))
            # 16 steps hold one R1, as in training
            seconds = [0.0] * 3
            for k in range(3):
                start = time.perf_counter()
                for _ in range(16):
                    method.step([real], [Draws(0, next(step), 16)])
                seconds[k] = time.perf_counter() - start
            rates[name] = 16 * 16 / sorted(seconds)[1]
            row = {"name": f"training 64 px, base {base}, {name}", "images_per_second": rates[name]}
            if base == 4096:
                row["ratio_to_reference"] = rates[name] / REFERENCE["training_images_per_second_64_base4096"]
            if bf16:
                row["ratio_to_float32"] = rates["bf16"] / rates["float32"]
            rows.append(row)
            print(row, flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--training-only", action="store_true")
    parser.add_argument("--forward-only", action="store_true")
    arguments = parser.parse_args()
    rates = {"float32": matrix_rate(torch.float32), "bf16": matrix_rate(torch.bfloat16)}
    print(rates)
    rows: list[dict[str, Any]] = [] if arguments.training_only else forward(rates)
    rows += [] if arguments.forward_only else training()
    if not (arguments.training_only or arguments.forward_only):
        tree = {
            "command": "python benchmarks/speed.py",
            "protocol": {"batch_forward": 1, "batch_training": 16, "statistic": "median", "reference": REFERENCE},
            "machine": machine(),
            "matrix_gflops": rates,
            "rows": rows,
        }
        print(write("speed", tree))


if __name__ == "__main__":
    main()
