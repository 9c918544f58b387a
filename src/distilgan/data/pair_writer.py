"""Filling a pair store: drawn from a teacher, or taken from arrays that somebody else's sampler wrote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from distilgan.data.images import to_uint8
from distilgan.data.pairs import (
    LatentCheck,
    Manifest,
    PairStore,
    check_labels,
    hash_arrays,
    missing_shards,
    open_array,
    read_manifest,
    write_manifest,
    write_shard,
)
from distilgan.devices import use_device
from distilgan.errors import UserError
from distilgan.files import is_leftover, locked
from distilgan.networks.families import load_network
from distilgan.networks.generator import ImageGenerator
from distilgan.networks.latents import Distribution, LatentSpec
from distilgan.networks.pretrained import network_sha256, read_config
from distilgan.processes import in_processes

SHARD = 10_000
_BATCH = 64


@dataclass(frozen=True)
class _Job:
    """One shard to draw, in whatever process."""

    store: Path
    teacher: Path
    manifest: Manifest
    shard: int
    device: str


def draw_pairs(
    out: Path,
    teacher: Path,
    name: str,
    count: int,
    *,
    truncation: float = 1.0,
    seed: int = 0,
    shard_size: int = SHARD,
    classes: Sequence[int] | None = None,
    distribution: Distribution | None = None,
    workers: int = 1,
    device: str = "cpu",
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Draw `count` pairs of the generator in the folder `teacher` into the store `out`.

    Shards that are there already are kept, so the same command goes on where it stopped, and does nothing once all are
    there. A shard's latents and classes follow from (seed, its number) alone.

    Args:
        name: of the teacher, recorded. classes: drawn uniformly; None: all.
        distribution: of the latents; None: the teacher's own.
        workers: processes. They change nothing, but another number of threads may move a picture by a grey level.

    Raises:
        UserError: no classes, a class out of range, a truncation that the teacher has no statistics for, too many pairs or
            shards, another store in `out`, or another process that writes it.
    """
    network = load_network(teacher, ImageGenerator)
    manifest = _manifest(network, teacher, name, count, truncation, seed, shard_size, classes, distribution)
    use_device(device)
    with locked(out):
        manifest, missing = _claim(out, manifest)
        sizes = manifest.shards
        if progress:
            progress(count - sum(sizes[shard] for shard in missing))
        jobs = [_Job(out, teacher, manifest, shard, device) for shard in missing]
        workers = min(workers, len(jobs))
        if workers <= 1:
            network = network.to(device)
            for job in jobs:
                _draw_shard(job, network, progress)
        else:
            threads = max(1, torch.get_num_threads() // workers)
            for shard in in_processes(_draw_in_process, jobs, workers, threads):
                if progress:
                    progress(sizes[shard])
        _finish(out, manifest)
    return out


def _manifest(
    network: ImageGenerator, teacher: Path, name: str, count: int, truncation: float, seed: int, shard_size: int,
    classes: Sequence[int] | None, distribution: Distribution | None,
) -> Manifest:  # fmt: skip
    if not network.num_classes:
        raise UserError(f"{name}: has no classes; a store of pairs needs a class-conditional teacher")
    outside = next((c for c in classes or () if not 0 <= c < network.num_classes), None)
    if outside is not None:
        raise UserError(f"--classes: {outside} is out of range; {name} has the classes 0 to {network.num_classes - 1}")
    if truncation <= 0:
        raise UserError(f"--truncation {truncation:g}: must be more than 0")
    try:
        network.check_truncation(truncation)
    except ValueError as error:
        raise UserError(f"--truncation {truncation:g}: {error}") from error
    latent = network.latent
    try:
        return Manifest(
            latent=replace(latent, distribution=distribution or latent.distribution),
            num_classes=network.num_classes,
            resolution=int(network.config.resolution),
            count=count,
            shard_size=min(shard_size, count),
            seed=seed,
            truncation=truncation,
            classes=None if classes is None else sorted(set(classes)),
            teacher=name,
            teacher_sha256=network_sha256(network),
            licence=str(read_config(teacher).get("licence", "")),
        )
    except ValueError as error:
        raise UserError(f"{name}: {error}") from error


def _claim(out: Path, manifest: Manifest) -> tuple[Manifest, list[int]]:
    """Make `out` the store of `manifest`, or go on with it: the manifest that it has now, and the shards that it lacks."""
    found = read_manifest(out) if (out / "manifest.json").exists() else None
    if found is not None and not found.finished and len(missing_shards(out, found)) == len(found.shards):
        found = None  # nothing was drawn by it, so it binds nobody
    elif found is not None:
        there, wanted = found.determinants, manifest.determinants
        for key in ("teacher_sha256", "content_sha256", *there):
            if there[key] != wanted[key]:
                others = {"teacher_sha256": "another teacher", "content_sha256": "other arrays"}
                what = others.get(key, f"{key}={getattr(found, key)}")
                raise UserError(f"{out}: holds pairs made with {what}; choose another folder")
        manifest = found
    elif any(not is_leftover(p) for p in out.iterdir()):
        raise UserError(f"{out}: not empty and not a store of pairs; choose another folder")
    missing = missing_shards(out, manifest)
    if found is None or (found.finished and missing):
        manifest = replace(manifest, finished=False)
        write_manifest(out, manifest)
    return manifest, missing


def _finish(out: Path, manifest: Manifest) -> None:
    """Say that all shards are there, and look at them, as those from before may be damaged."""
    if not manifest.finished:
        write_manifest(out, replace(manifest, finished=True))
    PairStore(out)


def _draw_in_process(job: _Job) -> int:
    use_device(job.device)  # a setting of the process, which a new one does not inherit
    device = job.device
    if device == "cuda":
        device = f"cuda:{job.shard % torch.cuda.device_count()}"
    network = load_network(job.teacher, ImageGenerator)
    if network_sha256(network) != job.manifest.teacher_sha256:
        raise UserError(f"{job.teacher}: changed while it was drawn from; make the store again, in another folder")
    _draw_shard(job, network.to(device))
    return job.shard


@torch.no_grad()
def _draw_shard(job: _Job, network: ImageGenerator, progress: Callable[[int], None] | None = None) -> None:
    m, n = job.manifest, job.manifest.shards[job.shard]
    # A spawn key of its own: neither training nor evaluation draws from this stream.
    words = np.random.SeedSequence(m.seed, spawn_key=(1, job.shard)).generate_state(1, np.uint64)
    generator = torch.Generator().manual_seed(int(words[0] >> 1))
    z = m.latent.draw(n, generator)
    chosen = torch.tensor(m.classes if m.classes is not None else list(range(m.num_classes)))
    label = chosen[torch.randint(len(chosen), (n,), generator=generator)]
    device = next(network.parameters()).device
    images = torch.empty(n, 3, m.resolution, m.resolution, dtype=torch.uint8)
    for i in range(0, n, _BATCH):
        rows = slice(i, i + _BATCH)
        drawn = network(z[rows].to(device), label[rows].to(device), truncation=m.truncation)
        if not torch.isfinite(drawn).all():
            raise UserError(f"{m.teacher}: its pictures have NaN or infinite values; its weights are damaged")
        images[rows] = to_uint8(drawn)
        if progress:
            progress(len(drawn))
    write_shard(job.store, job.shard, images.numpy(), z.numpy(), label.numpy())


def import_pairs(
    out: Path,
    images: Path,
    latents: Path,
    labels: Path,
    *,
    num_classes: int,
    distribution: Distribution = "normal",
    shard_size: int = SHARD,
    name: str = "",
    licence: str = "",
) -> Path:
    """Make a store of three .npy files: pictures uint8 [N, 3, R, R] or [N, R, R, 3], latents [N, ...], class numbers [N].

    The same call goes on where it stopped, and leaves a finished store as it is.

    Raises:
        UserError: unreadable files, other shapes, another number of rows, classes out of range, latents that are constant, not
            finite or of another distribution, another store in `out`, or another process that writes it.
    """
    pictures, z, label = (open_array(path, "give an .npy file with one array") for path in (images, latents, labels))
    if pictures.ndim == 4 and pictures.shape[3] == 3 != pictures.shape[1]:
        pictures = pictures.transpose(0, 3, 1, 2)
    if (
        pictures.dtype != np.uint8
        or pictures.ndim != 4
        or pictures.shape[1] != 3
        or pictures.shape[2] != pictures.shape[3]
    ):
        raise UserError(f"{images}: {pictures.dtype} {list(pictures.shape)}; expected uint8 [N, 3, R, R]")
    if not pictures.size:
        raise UserError(f"{images}: holds no pictures")
    for path, array in ((latents, z), (labels, label)):
        if len(array) != len(pictures):
            raise UserError(
                f"{path}: {len(array)} rows, but {images} has {len(pictures)} pictures; give the files of one set"
            )
    if label.ndim != 1 or label.dtype.kind not in "iu":
        raise UserError(f"{labels}: {label.dtype} {list(label.shape)}; expected whole numbers [N]")
    check_labels(str(labels), label, num_classes)
    if z.ndim not in (2, 4) or z.dtype.kind != "f" or not z.size:
        raise UserError(f"{latents}: {z.dtype} {list(z.shape)}; expected floats [N, D] or [N, C, H, W]")
    resolution = pictures.shape[2]
    if resolution < 8 or resolution & (resolution - 1):
        raise UserError(f"{images}: {resolution} px; pictures to learn from are a power of two wide, at least 8")
    look = LatentCheck(LatentSpec(list(z.shape[1:]), distribution))
    look.add(str(latents), z)
    look.finish(str(latents))
    try:
        manifest = Manifest(
            latent=look.latent,
            num_classes=num_classes,
            resolution=resolution,
            count=len(pictures),
            shard_size=min(shard_size, len(pictures)),
            teacher=name,
            licence=licence,
            content_sha256=hash_arrays([z], [label], [pictures]),
        )
    except ValueError as error:
        raise UserError(f"{images}: {error}") from error
    with locked(out):
        manifest, missing = _claim(out, manifest)
        for shard in missing:
            rows = slice(shard * manifest.shard_size, (shard + 1) * manifest.shard_size)
            write_shard(out, shard, pictures[rows], z[rows], label[rows])
        _finish(out, manifest)
    return out
