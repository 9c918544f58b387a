"""The loop's promises: resume is exact, shares add up, nothing broken is saved."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from distilgan.data.pair_writer import draw_pairs
from distilgan.errors import Interrupted, RunFailed, UserError
from distilgan.losses.adversarial import path_lengths
from distilgan.methods import adversarial
from distilgan.methods.gan import GAN
from distilgan.recipe import BaseRecipe, dump_recipe
from distilgan.training.checkpoint import latest_checkpoint
from distilgan.training.hardware import start_hardware
from distilgan.training.loop import fit, micro_batches, schedule
from tests.recipes import (
    biggan_recipe,
    cut_recipe,
    gan_recipe,
    identity_recipe,
    metakd_recipe,
    nijigan_recipe,
    stylekd_recipe,
    tinygan_recipe,
    tpgan_recipe,
)
from tests.training.running import assert_same, final_state, prepared, run


class Killed(BaseException):
    """Stands for SIGKILL: nothing gets to clean up with its help."""


@pytest.fixture
def recipe_of(
    image_folder: Path,
    teacher_folder: Path,
    labelled_folder: Path,
    conditional_teacher: Path,
    faces: Path,
    tpgan_teacher: Path,
    photo_folder: Path,
    style_folder: Path,
    pair_folder: Path,
    cut_teacher: Path,
    tmp_path: Path,
) -> Callable[..., BaseRecipe]:
    """A tiny recipe of each method."""
    translation = {
        "unsupervised": {"nce": 1.0, "contrast": 0.1, "identity": True, "flip_equivariance": True},
        "supervised": {"weight": 1.0, "schedule": "cosine_decay"},
    }

    def make(method: str, **changes: Any) -> BaseRecipe:
        if method == "gan":
            return gan_recipe(image_folder, **changes)
        if method == "stylekd":
            return stylekd_recipe(image_folder, teacher_folder, **changes)
        if method == "biggan":
            return biggan_recipe(labelled_folder, **changes)
        if method == "identity":
            return identity_recipe(faces, **changes)
        if method == "tpgan":
            return tpgan_recipe(faces, **changes)
        if method == "metakd":
            return metakd_recipe(faces, tpgan_teacher, **changes)
        if method == "cut":
            changes |= {**translation, "data": {"pairs": str(pair_folder)}}
            return cut_recipe(photo_folder, style_folder, **changes)
        if method == "nijigan":
            changes |= {
                **translation, "distillation": {"high_frequency": 1.0, "relation": 0.1, "contrast": 0.1, "channel": 1.0},
                "student": {"channels": [4, 5, 5], "blocks": 2}, "balancer": {"kind": "metakd", "every": 1, "lr": 0.05},
            }  # fmt: skip
            return nijigan_recipe(photo_folder, style_folder, cut_teacher, **changes)
        if method.endswith("-metakd"):
            changes["balancer"] = {"kind": "metakd", "every": 1, "lr": 0.05}
            method = method.removesuffix("-metakd")
            if method == "stylekd":
                return stylekd_recipe(image_folder, teacher_folder, **changes)
            changes["losses"] = {**changes.get("losses", {}), "pixel_fall": None}
        if method == "tinygan-store":
            store = draw_pairs(tmp_path / "store", conditional_teacher, "T", 24, shard_size=10)
            changes["pairs"] = {"store": str(store)}
        return tinygan_recipe(labelled_folder, conditional_teacher, **changes)

    return make


@pytest.mark.parametrize("precision", ["32", "bf16"])
@pytest.mark.parametrize(
    "method",
    [
        "gan", "stylekd", "biggan", "tinygan", "tinygan-store", "tpgan", "metakd", "stylekd-metakd", "tinygan-metakd", "cut",
        "nijigan",
    ],
)  # fmt: skip
def test_a_resumed_run_ends_bit_identical(
    recipe_of: Callable[..., BaseRecipe],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    precision: str,
) -> None:
    """Interrupted between two checkpoints, in the middle of R1 and path-length intervals, while the rate rises."""
    changes = {
        "training": {"images": 64, "checkpoint": 24, "precision": precision},
        "optimiser": {"warmup": 40, "decay": 0.5},
    }
    recipe = recipe_of(method, **changes)
    expected = run(recipe, tmp_path / "whole")

    calls = 0
    cls = type(prepared(recipe))
    original = cls.step

    def step(self: Any, reals: Any, draws: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise Killed
        return original(self, reals, draws)

    with monkeypatch.context() as patch:
        patch.setattr(cls, "step", step)
        with pytest.raises(Killed):
            run(recipe, tmp_path / "cut")
    found = latest_checkpoint(tmp_path / "cut" / "checkpoints")
    assert found is not None
    assert found.name == "images-00000024"
    assert_same(run(recipe, tmp_path / "cut"), expected)
    lines = [(tmp_path / d / "log.jsonl").read_text().splitlines() for d in ("whole", "cut")]
    terms = [[(json.loads(x)["images"], json.loads(x)["terms"]) for x in file] for file in lines]
    assert terms[0][-1] == terms[1][-1]
    assert [i for i, _ in terms[1]] == sorted({i for i, _ in terms[1]})


SCRIPT = """
import sys
from pathlib import Path
from distilgan.errors import Interrupted
from distilgan.recipe import load_recipe
from distilgan.data.images import ImageSet
from distilgan.pipeline import build_method
from distilgan.training.hardware import start_hardware
from distilgan.training.loop import fit
import torch
torch.set_num_threads(1)
recipe, out = load_recipe(sys.argv[1]), Path(sys.argv[2])
out.mkdir(exist_ok=True)
images = ImageSet(recipe.data.path, recipe.data.resolution)
method = build_method(recipe, images)
try:
    fit(method, recipe, out, recipe.seed, start_hardware("cpu", "32"))
except Interrupted as error:
    sys.exit(128 + error.signal_number)
"""


def start(recipe: BaseRecipe, folder: Path, out: Path) -> subprocess.Popen[bytes]:
    (folder / "recipe.yaml").write_text(dump_recipe(recipe))
    command = [sys.executable, "-c", SCRIPT, str(folder / "recipe.yaml"), str(out)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def wait_for_checkpoint(out: Path, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        if (out / "checkpoints" / "latest").exists():
            return
        time.sleep(0.02)
    pytest.fail("no checkpoint was written")


def test_sigkill_and_sigterm_and_again(image_folder: Path, tmp_path: Path) -> None:
    """A real process: killed hard, then asked to stop, then left alone; its weights are those of an untouched one."""
    recipe = gan_recipe(image_folder, training={"images": 4000, "checkpoint": 80, "report": 80, "sample": 4000})
    recipe = recipe.model_copy(update={"training": recipe.training.model_copy(update={"images": 480})})
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert start(recipe, tmp_path, whole).wait(300) == 0

    process = start(recipe, tmp_path, cut)
    wait_for_checkpoint(cut, process)
    process.kill()
    process.wait(30)
    seen = final_state(cut)["images"]

    process = start(recipe, tmp_path, cut)
    until = time.monotonic() + 120
    while final_state(cut)["images"] == seen and process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) in (0, 128 + signal.SIGTERM)  # 0 if it had finished before the signal

    assert start(recipe, tmp_path, cut).wait(300) == 0
    first, second = final_state(whole), final_state(cut)
    assert first["images"] == second["images"] == 480
    for part in ("generator", "discriminator"):
        assert_same(first["networks"][part], second["networks"][part])
    assert_same(first["ema"], second["ema"])


def test_sigterm_saves_before_stopping(image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = gan_recipe(image_folder, training={"images": 400, "checkpoint": 400})
    original = GAN.step

    def step(self: GAN, reals: Any, draws: Any) -> Any:
        if self.steps == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, reals, draws)

    monkeypatch.setattr(GAN, "step", step)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted):
        run(recipe, tmp_path / "r")
    assert final_state(tmp_path / "r")["images"] == 24
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(("micro", "mbstd"), [(4, 4), (1, 1)])
def test_accumulation_changes_nothing_but_rounding(image_folder: Path, micro: int, mbstd: int) -> None:
    """One step of 8 against parts of 4 or 1 (samples), path length (on half of the batch) and the average w included.

    Gradients are compared, because Adam's first update has the size of a sign."""
    states = []
    for size in (None, micro):
        recipe = gan_recipe(
            image_folder, training={"images": 8, "micro_batch": size}, network={"mbstd_group": mbstd},
        )  # fmt: skip
        states.append(gradients_of_a_step(recipe))
    assert {"mapping.w_avg", "path_mean"} <= set(states[0])
    for name in states[0]:
        torch.testing.assert_close(states[0][name], states[1][name], atol=1e-6, rtol=1e-4, msg=name)


def test_running_means_of_a_short_run_are_plain_means(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the official start at 0, which three steps of decay 0.998 would leave at 0.6 % of the mean."""
    recipe = gan_recipe(
        image_folder, training={"images": 24}, regularisation={"path_length": 2, "path_length_interval": 1}
    )
    method = prepared(recipe)
    averages: list[Tensor] = []
    lengths: list[Tensor] = []

    def measure(*args: Tensor) -> Tensor:
        lengths.append(path_lengths(*args))
        return lengths[-1]

    track_average = GAN._track_average
    monkeypatch.setattr(GAN, "_track_average", lambda self, w: (averages.append(w.clone()), track_average(self, w)))
    monkeypatch.setattr(adversarial, "path_lengths", measure)
    fit(method, recipe, tmp_path, recipe.seed, start_hardware("cpu", "32"))
    assert len(averages) == len(lengths) == 3
    torch.testing.assert_close(method.generator.mapping.w_avg, torch.stack(averages).mean(0))
    torch.testing.assert_close(method.path_mean, torch.stack(lengths).mean())


def gradients_of_a_step(recipe: Any) -> dict[str, Tensor]:
    """The generator's and the discriminator's gradients of a step with all regularisers, and the running means after it."""
    method = prepared(recipe)
    method.steps = 4  # a multiple of the intervals; the very first step has no target for path lengths
    optimisers = method.optimisers()
    for group in optimisers["generator"].param_groups:
        # Adam first scales by 1 / (|g| + eps); with its 1e-8 the order of sums decides where sums cancel.
        group["eps"] = 1e-4
    method.optimisers = lambda: optimisers  # type: ignore[method-assign]
    found: dict[str, Tensor] = {}
    original = type(method)._update

    def update(self: Any, name: str, report: Any) -> None:
        for key, p in self.trainable()[name].named_parameters():
            if p.grad is not None:
                found[f"{name}.{key}"] = p.grad.clone()
        original(self, name, report)

    method._update = update.__get__(method)  # type: ignore[method-assign]
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        fit(method, recipe, Path(folder), recipe.seed, start_hardware("cpu", "32"))
    state = method.generator.state_dict()
    moved = {k: v.clone() for k, v in state.items() if k.endswith(("w_avg", "running_mean", "running_var"))}
    if method.balancer is not None:
        found["factors"] = method.balancer.factors.float()
        found |= {f"signals.{k}": torch.tensor(v) for k, v in method.balancer.signals().items()}
    return {**found, **moved, **({"path_mean": method.path_mean.clone()} if hasattr(method, "path_mean") else {})}


WORKER = """
import sys, torch
from distilgan.recipe import load_recipe
from tests.training.test_loop import gradients_of_a_step
torch.set_num_threads(1)
found = gradients_of_a_step(load_recipe(sys.argv[1]))
import os
if os.environ["RANK"] == "0":
    torch.save(found, sys.argv[2])
"""


@pytest.mark.parametrize(
    "method",
    [
        "stylekd",
        "tinygan",
        "metakd",
        "nijigan",
        *(
            pytest.param(m, marks=pytest.mark.slow)
            for m in ("gan", "biggan", "identity", "stylekd-metakd", "tinygan-metakd")
        ),
    ],
)
def test_two_processes_have_the_gradients_of_one(
    recipe_of: Callable[..., BaseRecipe], tmp_path: Path, method: str
) -> None:
    """torchrun with gloo and the same global batch, batch normalisation included; tolerance: the order of float32 sums."""
    changes: dict[str, Any] = {"training": {"images": 8}}
    if method == "gan":
        changes["network"] = {"conv_clamp": None}
    elif method == "metakd":
        changes["balancer"] = {"every": 1, "lr": 0.05, "meta_share": 1.0, "held_out": 0.5}
    elif method.startswith("tinygan"):
        changes["losses"] = {"adversarial_every": 1, "pixel_fall": None}
    recipe = recipe_of(method, **changes)
    expected = gradients_of_a_step(recipe)
    (tmp_path / "recipe.yaml").write_text(dump_recipe(recipe))
    (tmp_path / "worker.py").write_text(WORKER)
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node=2",
        "--master_port=0",
        "--rdzv-backend=c10d",
    ]
    command += [
        "--rdzv-endpoint=localhost:0",
        str(tmp_path / "worker.py"),
        str(tmp_path / "recipe.yaml"),
        str(tmp_path / "g.pt"),
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = torch.load(tmp_path / "g.pt", weights_only=True)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        # A bias before a norm has the rest of what cancels out, of terms as large as its weight's gradients.
        sums = expected.get(name.replace("bias", "weight"), value)
        atol = 2e-6 + 2e-4 * float(value.abs().max()) + 2e-6 * float(sums.abs().max())
        atol += 5e-4 * (name == "signals.alignment")  # cosines after a step of Adam, which is nearly one of signs
        torch.testing.assert_close(found[name], value, atol=atol, rtol=1e-3, msg=name)


def test_nan_stops_the_run_and_names_the_last_good_checkpoint(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = gan_recipe(image_folder, training={"images": 64, "checkpoint": 16, "report": 16})
    original = GAN.step

    def step(self: GAN, reals: Any, draws: Any) -> Any:
        if self.steps == 5:
            with torch.no_grad():
                self.generator.synthesis.b4.const.fill_(float("nan"))
        return original(self, reals, draws)

    monkeypatch.setattr(GAN, "step", step)
    with pytest.raises(RunFailed, match=r"NaN or infinity in .*last good checkpoint is .*images-00000032"):
        run(recipe, tmp_path / "r")
    state = final_state(tmp_path / "r")
    assert all(bool(torch.isfinite(v).all()) for v in state["networks"]["generator"].values() if v.is_floating_point())


def test_schedule(image_folder: Path) -> None:
    recipe = gan_recipe(image_folder, training={"images": 1000, "batch": 10}, optimiser={"warmup": 100, "decay": 0.5})
    assert schedule(0, recipe) == pytest.approx(0.1)
    assert schedule(90, recipe) == 1.0
    assert schedule(500, recipe) == 1.0
    assert schedule(750, recipe) == pytest.approx(0.55)
    assert schedule(1000, recipe) == pytest.approx(0.1)


def test_batches_that_do_not_fit_are_refused(image_folder: Path) -> None:
    def micro(processes: int, batch: int, size: int | None, mbstd: int = 4) -> int:
        recipe = gan_recipe(
            image_folder, training={"batch": batch, "micro_batch": size}, network={"mbstd_group": mbstd}
        )
        return micro_batches(prepared(recipe), recipe.training, processes)

    assert micro(2, 16, 4) == 2
    assert micro(1, 6, None) == 1
    for processes, batch, size, line in [
        (2, 1, None, "fewer images than the 2 processes"),
        (2, 9, None, "does not divide into 2 equal parts"),
        (1, 8, 2, "multiple of 4, the group of the discriminator's minibatch deviation"),
        (4, 8, None, "multiple of 4"),
    ]:
        with pytest.raises(UserError, match=line):
            micro(processes, batch, size)
