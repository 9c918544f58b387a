"""The training loop: one function, counted in images, that resumes exactly where it stopped.

Everything random in a step is a function of (seed, images seen), and everything that moves is in the checkpoint; so a run
that is killed and started again ends with the weights of one that was not.
"""

from __future__ import annotations

import json
import math
import signal
import time
from contextlib import nullcontext
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from distilgan.errors import Interrupted, RunFailed, UserError
from distilgan.files import disk_full_is_a_message
from distilgan.methods.base import Engine, G, Method
from distilgan.methods.draws import Draws
from distilgan.progress import Progress
from distilgan.recipe import BaseRecipe, Training
from distilgan.runs import open_log
from distilgan.training.checkpoint import CHECKPOINTS, latest_checkpoint, load_checkpoint, save_checkpoint
from distilgan.training.ema import EMA
from distilgan.training.hardware import Hardware
from distilgan.training.samples import save_samples


def micro_batches(method: Method[Any, Any], training: Training, processes: int) -> int:
    """Into how many parts each of `processes` cuts its share of a batch.

    Raises:
        UserError: the batch does not divide, or the method cannot work on such parts.
    """
    share, rest = divmod(training.batch, processes)
    if not share:
        raise UserError(f"training.batch={training.batch}: fewer images than the {processes} processes")
    micro = math.ceil(share / (training.micro_batch or share))
    parts = processes * micro
    if rest or training.batch % parts:
        raise UserError(f"training.batch={training.batch} does not divide into {parts} equal parts")
    method.check_share(training.batch // parts)
    return micro


def fit(method: Method[Any, G], recipe: BaseRecipe, out: Path, seed: int, hardware: Hardware) -> G:
    """Train `method` for `recipe.training.images` images and return the averaged network.

    Writes checkpoints/, log.jsonl and samples/ below `out`; goes on from the newest checkpoint there.

    Raises:
        RunFailed: NaN or infinity in a loss or a weight; nothing damaged was saved.
        Interrupted: SIGTERM or SIGINT; a checkpoint was saved first.
    """
    t = recipe.training
    fabric = hardware.fabric
    micro = micro_batches(method, t, fabric.world_size)
    parts = fabric.world_size * micro

    # -- networks, optimisers, average -------------------------------------------------------------------------------
    for network in [*method.trainable().values(), *method.frozen()]:
        network.to(fabric.device, memory_format=method.layout(fabric.device))  # type: ignore[call-overload]
    optimisers = method.optimisers()
    lr = {name: optimiser.param_groups[0]["lr"] for name, optimiser in optimisers.items()}  # before a checkpoint's
    played, wrapped = {}, {}
    for name, network in method.trainable().items():
        played[name], wrapped[name] = fabric.setup(network, optimisers[name])
    engine = _engine(fabric, hardware)
    mean = engine.mean_over_processes
    method.prepare(played, wrapped, engine)
    ema = EMA(method.generator, t.ema_half_life, t.ema_rampup)

    # -- resume ------------------------------------------------------------------------------------------------------
    seen = 0
    checkpoints = out / CHECKPOINTS
    if (found := latest_checkpoint(checkpoints)) is not None:
        seen = _restore(load_checkpoint(found), method, optimisers, ema)
    log = open_log(out / "log.jsonl", seen) if fabric.global_rank == 0 else None
    feed = method.lessons()
    streams = [
        feed.batches(
            t.batch, seed, start=seen, mirror=recipe.data.mirror,
            part=fabric.global_rank + fabric.world_size * m, parts=parts, workers=t.workers,
        )
        for m in range(micro)
    ]  # fmt: skip

    def save() -> Path:
        state = _state(method, optimisers, ema, seen)
        path = checkpoints / f"images-{seen:08d}"
        if fabric.global_rank == 0:
            path = save_checkpoint(checkpoints, seen, state, t.keep_checkpoints)
        fabric.barrier()
        return path

    # -- the loop ----------------------------------------------------------------------------------------------------
    totals: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    with _Signals() as signals, Progress(t.images, seen, enabled=fabric.global_rank == 0) as progress:
        if fabric.global_rank == 0 and seen == 0:
            save_samples(out, method.sample_rows(ema.network, seed), seen)
        clock, clock_images = time.perf_counter(), seen
        while seen < t.images:
            for name, optimiser in optimisers.items():
                optimiser.param_groups[0]["lr"] = lr[name] * schedule(seen, recipe)
            draws = [
                Draws(
                    seed,
                    seen,
                    t.batch,
                    part=fabric.global_rank + fabric.world_size * m,
                    parts=parts,
                    device=fabric.device,
                )
                for m in range(micro)
            ]
            terms = method.step([next(stream).to(fabric.device) for stream in streams], draws)
            ema.update(method.generator, t.batch, seen)
            before, seen = seen, min(seen + t.batch, t.images)
            for name, value in terms.items():
                totals[name] = totals.get(name, torch.zeros_like(value)) + value
                counts[name] = counts.get(name, 0) + 1
            progress.advance(seen)

            def due(every: int, passed: tuple[int, int] = (before, seen)) -> bool:
                return passed[0] // every != passed[1] // every or passed[1] == t.images

            stop = _agreed(fabric, signals.received)
            if due(t.report) or due(t.checkpoint) or stop:
                means = {name: float(mean(total / counts[name])) for name, total in totals.items()}
                _guard(means, method, checkpoints, seen)
                if log is not None and means:
                    seconds = time.perf_counter() - clock
                    line = {
                        "images": seen,
                        "seconds": round(seconds, 3),
                        "images_per_second": round((seen - clock_images) / max(seconds, 1e-9), 2),
                        "terms": means,
                        "weighted": {k: w * means[k] for k, w in method.weights.items() if k in means},
                        "weights": method.weights,
                        **({"balance": method.balance.report()} if method.balance is not None else {}),
                        "learning_rate": {k: o.param_groups[0]["lr"] for k, o in optimisers.items()},
                    }
                    with disk_full_is_a_message(out / "log.jsonl", "the checkpoints are whole"):
                        log.write(json.dumps(line) + "\n")
                        log.flush()
                    progress.show(means)
                totals, counts = {}, {}
                clock, clock_images = time.perf_counter(), seen
            if due(t.sample) and fabric.global_rank == 0:
                save_samples(out, method.sample_rows(ema.network, seed), seen)
            if due(t.checkpoint) or stop:
                saved = save()
                if stop and seen < t.images:
                    progress.message(f"{signal.Signals(stop).name}: saved {saved}; the same command goes on from there")
                    raise Interrupted(stop)
                clock, clock_images = time.perf_counter(), seen
    if log is not None:
        log.close()
    return ema.network


def schedule(seen: int, recipe: BaseRecipe) -> float:
    """Factor on the learning rate: linear rise over `warmup` images, linear fall to a tenth over the last `decay` share."""
    o, total = recipe.optimiser, recipe.training.images
    rise = min(1.0, (seen + recipe.training.batch) / o.warmup) if o.warmup else 1.0
    fall = max(0.0, (seen - total * (1 - o.decay)) / (total * o.decay)) if o.decay else 0.0
    return rise * (1 - 0.9 * fall)


def _engine(fabric: Fabric, hardware: Hardware) -> Engine:
    # Autocast is opened around each forward instead of by Fabric's precision plugin: that one forbids the
    # torch.autograd.grad calls of R1 and path-length regularisation.
    def autocast() -> torch.autocast:
        return torch.autocast(fabric.device.type, torch.bfloat16, enabled=hardware.bf16)

    def mean(value: Tensor) -> Tensor:
        reduced = fabric.all_reduce(value, reduce_op="mean")
        assert isinstance(reduced, Tensor)
        return reduced

    def no_sync(network: nn.Module) -> Any:
        return fabric.no_backward_sync(network) if fabric.world_size > 1 else nullcontext()  # type: ignore[arg-type]

    return Engine(backward=fabric.backward, autocast=autocast, no_sync=no_sync, mean_over_processes=mean)


def _state(method: Method[Any, G], optimisers: dict[str, torch.optim.Adam], ema: EMA[G], seen: int) -> dict[str, Any]:
    return {
        "images": seen,
        "networks": {k: v.state_dict() for k, v in method.trainable().items()},
        "optimisers": {k: v.state_dict() for k, v in optimisers.items()},
        "ema": ema.network.state_dict(),
        "method": method.state_dict(),
    }


def _restore(
    state: dict[str, Any], method: Method[Any, G], optimisers: dict[str, torch.optim.Adam], ema: EMA[G]
) -> int:
    for name, network in method.trainable().items():
        network.load_state_dict(state["networks"][name])
    for name, optimiser in optimisers.items():
        optimiser.load_state_dict(state["optimisers"][name])
    ema.network.load_state_dict(state["ema"])
    method.load_state_dict(state["method"])
    return int(state["images"])


def _agreed(fabric: Fabric, received: int) -> int:
    """The signal that any process received, so that all stop after the same step."""
    if fabric.world_size == 1:
        return received
    found = fabric.all_reduce(torch.tensor(float(received), device=fabric.device), reduce_op="max")
    assert isinstance(found, Tensor)
    return int(found)


def _guard(means: dict[str, float], method: Method[Any, Any], checkpoints: Path, seen: int) -> None:
    """Stop before anything broken is saved."""
    bad = [name for name, value in means.items() if not math.isfinite(value)]
    if not bad:
        parameters = [p for network in method.trainable().values() for p in network.parameters()]
        if not bool(torch.isfinite(torch.stack(torch._foreach_norm(list[Tensor](parameters)))).all()):
            bad = ["weights"]
    if bad:
        last = latest_checkpoint(checkpoints)
        good = f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"
        raise RunFailed(
            f"NaN or infinity in {', '.join(bad)} after {seen} images; {good}; lower optimiser.lr or use --precision 32"
        )


class _Signals:
    """Notes SIGTERM and SIGINT so that the loop can save before it stops; a second one kills at once."""

    def __init__(self) -> None:
        self.received = 0

    def __enter__(self) -> _Signals:
        try:
            self._old = {s: signal.signal(s, self._note) for s in (signal.SIGTERM, signal.SIGINT)}
        except ValueError:  # not in the main thread: signals are somebody else's
            self._old = {}
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        for s, handler in self._old.items():
            signal.signal(s, handler)

    def __exit__(self, *_: object) -> None:
        for s, handler in self._old.items():
            signal.signal(s, handler)
