"""Verbs that make or check image sets and stores of pairs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from distilgan.cli.options import Device, Json, Truncation, check_device, print_json
from distilgan.errors import UserError

if TYPE_CHECKING:
    from distilgan.networks.latents import Distribution

data_app = typer.Typer(no_args_is_help=True, help="Make or check image sets, faces and stores of pairs.")


@data_app.command("faces")
def data_faces(
    out: Annotated[Path, typer.Argument(help="A new folder, or a .zip.")],
    count: Annotated[int, typer.Option(help="How many portraits.", min=1)] = 1000,
    size: Annotated[int, typer.Option(help="Pixels, 32 to 256.")] = 64,
    seed: Annotated[int, typer.Option(help="Seed of the people and the photographs.", min=0, max=2**53)] = 0,
    workers: Annotated[int, typer.Option(help="Processes.", min=1)] = 1,
) -> None:
    """Render portraits of people who do not exist. The same command goes on where it stopped."""
    from distilgan.data.faces import render_set
    from distilgan.files import disk_full_is_a_message
    from distilgan.progress import counter

    with disk_full_is_a_message(out), counter("rendering", count) as advance:
        print(render_set(out, count, size, seed, workers, advance))


@data_app.command("scenes")
def data_scenes(
    out: Annotated[Path, typer.Argument(help="A new folder, or a .zip.")],
    count: Annotated[int, typer.Option(help="How many landscapes.", min=1)] = 200,
    size: Annotated[int, typer.Option(help="Height in pixels, 64 to 1024; they are half as wide again.")] = 256,
    seed: Annotated[int, typer.Option(help="Seed of what is drawn.", min=0, max=2**53)] = 0,
    light: Annotated[Literal["any", "day"], typer.Option(help="Of any time, or by day alone.")] = "any",
    workers: Annotated[int, typer.Option(help="Processes.", min=1)] = 1,
) -> None:
    """Draw landscapes in flat tones, a style to translate photos into. The same command goes on where it stopped."""
    from distilgan.data.scenes import render_scenes
    from distilgan.files import disk_full_is_a_message
    from distilgan.progress import counter

    with disk_full_is_a_message(out), counter("drawing", count) as advance:
        print(render_scenes(out, count, size, seed, light, workers, advance))


@data_app.command("poses")
def data_poses(
    out: Annotated[Path, typer.Argument(help="A new folder, or a .zip.")],
    identities: Annotated[int, typer.Option(help="How many people.")] = 100,
    first: Annotated[int, typer.Option(help="Number of the first: sets of other numbers are of other people.")] = 1,
    recordings: Annotated[int, typer.Option(help="Moments of each, with an expression of their own.")] = 1,
    lights: Annotated[int, typer.Option(help="Lights of each moment, of 19.")] = 1,
    step: Annotated[int, typer.Option(help="Degrees from camera to camera: 15, 30, 45 or 90.")] = 15,
    size: Annotated[int, typer.Option(help="Pixels, 32 to 256.")] = 64,
    seed: Annotated[int, typer.Option(help="Seed of the people and the photographs.", min=0, max=2**53)] = 0,
    workers: Annotated[int, typer.Option(help="Processes.", min=1)] = 1,
) -> None:
    """Render people from 13 sides with their frontal partners, as in Multi-PIE. The same command goes on where it stopped."""
    from distilgan.data.faces import PoseSet, render_poses
    from distilgan.files import disk_full_is_a_message
    from distilgan.progress import counter

    what = PoseSet(identities, first, recordings, lights, step, size, seed)
    with disk_full_is_a_message(out), counter("rendering", what.pictures) as advance:
        print(render_poses(out, what, workers, advance))


@data_app.command("fashion-mnist")
def data_fashion_mnist(
    out: Annotated[Path, typer.Argument(help="A folder for train.zip, validation.zip and test.zip.")],
    source: Annotated[
        Path | None,
        typer.Option(help="Folder of the idx files; default: Debian's dataset-fashion-mnist.", show_default=False),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="The first so many images of each class.", min=1, show_default=False)
    ] = None,
) -> None:
    """Make image sets of Fashion-MNIST's idx files: 32 px, 10 classes."""
    from distilgan.data.fashion_mnist import write_fashion_mnist

    for name, count in write_fashion_mnist(out, source, limit).items():
        print(f"{out / name}.zip  {count} images")


@data_app.command("pairs")
def data_pairs(
    teacher: Annotated[str, typer.Argument(help="Run, folder of a class-conditional generator, or builtin:NAME.")],
    out: Annotated[Path, typer.Argument(help="A new folder.")],
    count: Annotated[int, typer.Option(help="How many pairs.", min=1)] = 50_000,
    truncation: Truncation = 1.0,
    seed: Annotated[int, typer.Option(help="Seed of latents and classes.", min=0, max=2**53)] = 0,
    classes: Annotated[
        str | None, typer.Option(help="Class numbers to draw, such as 0-397,500; default: all.", show_default=False)
    ] = None,
    latent: Annotated[
        str | None,
        typer.Option(help="normal, truncated_normal or uniform; default: the teacher's.", show_default=False),
    ] = None,
    shard_size: Annotated[
        int | None, typer.Option(help="Pairs in a file; fewer take less memory.", min=1, show_default=False)
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes; may move a picture by a grey level.", min=1)] = 1,
    device: Device = "cpu",
) -> None:
    """Draw a teacher's latents, classes and pictures into a store. The same command goes on where it stopped."""
    check_device(device)
    from distilgan.data.pair_writer import SHARD, draw_pairs
    from distilgan.progress import counter
    from distilgan.runs import generator_folder

    with counter("drawing", count) as advance:
        print(
            draw_pairs(
                out, generator_folder(teacher), teacher, count, truncation=truncation, seed=seed, shard_size=shard_size or SHARD,
                classes=_class_list(classes), distribution=_distribution(latent), workers=workers, device=device,
                progress=advance,
            )
        )  # fmt: skip


@data_app.command("pseudo-pairs")
def data_pseudo_pairs(
    photos: Annotated[Path, typer.Argument(metavar="PHOTOS", help="A folder of photos.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder.")],
    teacher: Annotated[str, typer.Option(help="Run, folder of a translator, .pth of CUT or Scenimefy, or .onnx.")],
    size: Annotated[int, typer.Option(help="Pixels of the shorter side that photos are reduced to.", min=16)] = 256,
    segmenter: Annotated[
        Path | None, typer.Option(help="Folder of a semantic segmenter of transformers.", show_default=False)
    ] = None,
    rule: Annotated[str, typer.Option(help="With a segmenter: agreement, or scenimefy.")] = "agreement",
    agreement: Annotated[float, typer.Option(help="Least share of pixels of the same class.", min=0, max=1)] = 0.6,
    share: Annotated[
        float | None,
        typer.Option(help="Instead: keep this share, the best by agreement.", min=0, max=1, show_default=False),
    ] = None,
    luminance: Annotated[float, typer.Option(help="Most that mean L* may move, of 100.", min=1)] = 25.0,
    colour: Annotated[float, typer.Option(help="Most that the mean colour may move in the a*b* plane.", min=1)] = 40.0,
    device: Device = "cpu",
) -> None:
    """Translate photos into pairs to learn from, and leave out bad ones. The same command goes on where it stopped.

    With other limits it only judges anew.
    """
    check_device(device)
    if rule not in ("agreement", "scenimefy"):
        raise UserError(f"--rule {rule}: must be agreement or scenimefy")
    if segmenter is None and (rule != "agreement" or share is not None):
        raise UserError("--rule and --share: need --segmenter")
    from distilgan.data.pair_filter import Limits
    from distilgan.evaluation.translation.translators import open_translator
    from distilgan.files import disk_full_is_a_message
    from distilgan.perception.segmentation import Segmenter
    from distilgan.pipeline.photographs import photographs
    from distilgan.pipeline.pseudo_pairs import SHEET, make_pairs
    from distilgan.progress import counter

    limits = Limits(luminance, colour, "scenimefy" if rule == "scenimefy" else "agreement", agreement, share)
    translator = open_translator(teacher, device)
    with disk_full_is_a_message(out), counter("translating", len(photographs(photos))) as advance:
        made = make_pairs(
            translator, photos, out, size=size, limits=limits, segment=Segmenter(segmenter) if segmenter else None,
            segmenter=str(segmenter) if segmenter else None, progress=advance,
        )  # fmt: skip
    for name, why in made.unusable.items():
        print(f"{name}: left out: {why}", file=sys.stderr)
    print(f"{out}: {made.kept} pairs kept, {made.left_out} left out; look at {out / SHEET}")


@data_app.command("import-pairs")
def data_import_pairs(
    out: Annotated[Path, typer.Argument(help="A new folder.")],
    images: Annotated[Path, typer.Option(help=".npy, uint8 [N, 3, R, R] or [N, R, R, 3].")],
    latents: Annotated[
        Path, typer.Option(help=".npy, floats [N, D], or [N, C, R, R] as wide as the pictures (pixel-space diffusion).")
    ],
    labels: Annotated[Path, typer.Option(help=".npy, class numbers [N].")],
    num_classes: Annotated[int, typer.Option(help="Classes of the teacher.", min=1)],
    latent: Annotated[str, typer.Option(help="normal, truncated_normal or uniform.")] = "normal",
    name: Annotated[str, typer.Option(help="Of the teacher, recorded.")] = "",
    licence: Annotated[str, typer.Option(help="Terms of the teacher, recorded.")] = "",
) -> None:
    """Make a store of pairs of what another sampler wrote. The same command goes on where it stopped."""
    from distilgan.data.pair_writer import import_pairs

    distribution = _distribution(latent)
    assert distribution is not None
    print(
        import_pairs(
            out, images, latents, labels, num_classes=num_classes, distribution=distribution, name=name, licence=licence
        )
    )


@data_app.command("check")
def data_check(
    path: Annotated[str, typer.Argument(help="Folder or zip of images or faces, builtin:NAME, or a store of pairs.")],
    resolution: Annotated[
        int | None, typer.Option(help="Pixels; default: the first image's.", min=1, show_default=False)
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse unusable files.")] = False,
    json: Json = False,
) -> None:
    """Read a whole image set, or pairs of faces, and name the files that cannot be used; or a whole store of pairs."""
    from distilgan.data.archives import builtin_path
    from distilgan.data.face_rows import holds_pairs
    from distilgan.data.images import ImageSet

    if (store := builtin_path(path) / "manifest.json").is_file():
        return _check_store(store.parent, json)
    if holds_pairs(builtin_path(path)):
        return _check_faces(path, resolution or 64, strict, json)
    images = ImageSet(path, resolution, strict=strict)
    images.check()
    classes = images.num_classes if images.labelled else 0
    if json:
        skipped = {s.name: s.reason for s in images.skipped}
        return print_json(
            {"images": len(images), "resolution": images.resolution, "classes": classes, "skipped": skipped}
        )
    labelled = f", {classes} classes" if classes else ""
    print(f"{len(images)} images at {images.resolution} px{labelled}, {len(images.skipped)} skipped")
    for skip in images.skipped:
        print(f"  {skip.name!r}: {skip.reason}")


def _check_faces(path: str, resolution: int, strict: bool, json: bool) -> None:
    from collections import Counter

    from distilgan.data.face_pairs import FacePairs

    pairs = FacePairs(path, resolution)
    pairs.check()
    if strict:
        pairs.refuse_skipped()
    angles = Counter("unknown" if row.yaw is None else f"{row.yaw:g}" for row in pairs.rows)
    facts = {
        "pairs": len(pairs), "people": len(pairs.identities), "landmarks": pairs.landmarked, "yaw": dict(angles),
        "grey": len(pairs.grey), "skipped": pairs.skipped,
    }  # fmt: skip
    if json:
        return print_json(facts)
    known = "with landmarks" if pairs.landmarked else "taken as aligned, without landmarks"
    print(f"{len(pairs)} pairs of {len(pairs.identities)} people, {known}, {len(pairs.skipped)} skipped")
    print("  yaw         " + ", ".join(f"{yaw}: {count}" for yaw, count in angles.items()))
    if pairs.grey:
        print(f"  grey: {len(pairs.grey)} pictures")
    for name, reason in pairs.skipped.items():
        print(f"  {name!r}: {reason}")


def _check_store(path: Path, json: bool) -> None:
    from dataclasses import asdict

    from distilgan.data.pairs import PairStore

    store = PairStore(path, full=True)
    m = store.manifest
    if json:
        return print_json({**asdict(m), "identity": store.identity})
    print(f"{m.count} pairs at {m.resolution} px in {len(store.shards)} shards")
    drawn = "" if m.classes is None else f", drawn of {len(m.classes)} of them"
    for key, value in {
        "classes": f"{m.num_classes}{drawn}",
        "latents": m.latent.words,
        "truncation": f"{m.truncation:g}",
        "teacher": m.teacher or "unknown",
        "finished": "yes",  # or it would not have opened
    }.items():
        print(f"  {key:12}{value}")


def _class_list(text: str | None) -> list[int] | None:
    """0-3,7 as [0, 1, 2, 3, 7]."""
    if text is None:
        return None
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        ends = first, last if dash else first
        if not all(end.isdecimal() and len(end) < 10 for end in ends) or not 0 <= int(ends[1]) - int(ends[0]) < 10**6:
            raise UserError(f"--classes {part[:30]}: write class numbers and rising ranges, such as 0-397,500")
        found += range(int(ends[0]), int(ends[1]) + 1)
    return found


def _distribution(name: str | None) -> Distribution | None:
    match name:
        case None | "normal" | "truncated_normal" | "uniform":
            return name
        case _:
            raise UserError(f"--latent {name}: must be normal, truncated_normal or uniform")
